// MP3s: played in the page, one at a time, or saved. They are fetched with the token, which neither an `audio` element
// nor a link could send.
import { call } from './api.js';
import { make } from './dom.js';
import { texts } from './texts.js';

/** How long a browser may take to begin with saving (ms). */
const SAVED = 60_000;

let current = null;

async function fetchMp3(job, signal) {
  const response = await call(`download?fid=${job.mp3_fid}`, { signal });
  return { name: nameIn(response.headers.get('Content-Disposition') ?? ''), blob: await response.blob() };
}

/** The name in a `Content-Disposition` (RFC 6266): the one in UTF-8 (RFC 8187), if there is one. */
function nameIn(disposition) {
  const [, encoded] = /filename\*=UTF-8''([^;]+)/i.exec(disposition) ?? [];
  const [, plain] = /filename="([^"]*)"/i.exec(disposition) ?? [];
  return encoded ? decodeURIComponent(encoded) : plain ?? 'sound.mp3';
}

/** Plays a job's MP3 in `place`; `closed` is called when it is over, or something else is played. */
export function play(job, place, closed) {
  current?.close();
  const fetching = new AbortController();
  let url = null;
  const player = {
    close() {
      if (current !== player) return;
      current = null;
      fetching.abort();
      place.replaceChildren();
      if (url) URL.revokeObjectURL(url);
      closed();
    },
  };
  current = player;
  place.append(make('p', { className: 'faint', role: 'status', textContent: texts.fetching }));

  const start = async () => {
    const { blob } = await fetchMp3(job, fetching.signal);
    if (current !== player) return;
    url = URL.createObjectURL(blob);
    const audio = make('audio', { controls: true, src: url, 'aria-label': job.filename });
    place.replaceChildren(audio);
    // A browser may want another click first.
    await audio.play().catch(() => {});
  };
  player.started = start().catch((err) => {
    if (current !== player) return;
    player.close();
    throw err;
  });
  return player;
}

/** Has the browser save a job's MP3. */
export async function download(job) {
  const { name, blob } = await fetchMp3(job);
  const link = make('a', { href: URL.createObjectURL(blob), download: name });
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), SAVED);
}
