// A job's events, as they happen: server-sent events, read by `fetch` because `EventSource` can't send a token.
import { call } from './api.js';

const FIRST_PAUSE = 1000;
const LONGEST_PAUSE = 30_000;

/** Tells `tell` of a job until it is final or `signal` says stop. Fails on what waiting doesn't help. */
export async function follow(id, tell, signal) {
  let lastId = null;
  for (let failures = 0; !signal.aborted; failures += 1) {
    try {
      const headers = lastId === null ? {} : { 'Last-Event-ID': lastId };
      const response = await call(`jobs/${id}/events`, { headers, signal });
      // 204: it is final, and was told of before.
      if (response.status === 204) return;
      for await (const event of events(response.body)) {
        const job = JSON.parse(event.data);
        failures = 0;
        lastId = event.id;
        tell(job);
        if (isFinal(job)) return;
      }
    } catch (err) {
      if (signal.aborted) return;
      // A connection that breaks in the middle is no problem of the server's.
      if (err.status !== undefined && !err.passes) throw err;
    }
    await pause(Math.min(FIRST_PAUSE * 2 ** failures, LONGEST_PAUSE) * (0.5 + Math.random() / 2), signal);
  }
}

/** Whether nothing more will happen to a job by itself. */
export const isFinal = (job) => !['uploading', 'queued', 'converting'].includes(job.status);

/** The events of a stream (WHATWG HTML §9.2.6): its fields, by name. */
async function* events(body) {
  let [rest, fields] = ['', {}];
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  try {
    for (let piece = await reader.read(); !piece.done; piece = await reader.read()) {
      const lines = (rest + piece.value).split('\n');
      rest = lines.pop();
      for (const line of lines) {
        const [name, value] = line.split(/: ?(.*)/s);
        if (line === '' && fields.data) yield fields;
        if (line === '') fields = {};
        else if (name) fields[name] = value;
      }
    }
  } finally {
    // Whoever reads no further lets go of the connection.
    reader.cancel().catch(() => {});
  }
}

function pause(milliseconds, signal) {
  return new Promise((resolve) => {
    const timer = setTimeout(resolve, milliseconds);
    signal.addEventListener('abort', () => { clearTimeout(timer); resolve(); }, { once: true });
  });
}
