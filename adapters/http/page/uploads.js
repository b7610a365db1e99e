// Uploads: files on their way, a few at a time, by the resumable protocol tus (vendor/tus.min.js, which becomes the
// global `tus`). An upload goes on after a cut, after signing in again, and after a reload once the same file is chosen
// again.
import { Problem, base } from './api.js';
import { session } from './session.js';
import { texts } from './texts.js';

const AT_ONCE = 2;
/** Pauses before it is tried again, in ms; the count begins anew whenever something arrives. */
const DELAYS = [0, 1000, 2000, 4000, 8000, 15_000, 30_000, 30_000, 30_000];
/** The speed is that of the last so many ms. */
const MEMORY = 8000;
/** The server keeps for a day what is unfinished; after so many ms it is no use to know of it. */
const FORGOTTEN = 7 * 86_400_000;

/**
 * One file. Its `state`: `waiting` for the others; `sending`; `broken`, and tried again; `held` until somebody is
 * signed in; `stopped` after too many attempts; `refused` for good. `problem` says why, `id` is that of the job to be.
 */
class Upload {
  constructor(file, options) {
    Object.assign(this, { file, name: file.name, key: Symbol(file.name), owner: session.email });
    Object.assign(this, { state: 'waiting', problem: null, sent: 0, total: file.size, left: null, marks: [] });
    // Once it is on the server.
    Object.assign(this, { id: null, url: null });
    this.metadata = { filename: file.name, filetype: file.type, ...options };
    // Who chooses the same file for the same MP3 means to go on.
    this.fingerprint = JSON.stringify([base.pathname, this.owner, file.size, file.lastModified, this.metadata]);
  }

  get isActive() {
    return this.state === 'sending' || this.state === 'broken';
  }
}

export class Uploads {
  list = [];

  /** `changed` is called with every change, `done` with an upload that became a job, `ended` when one never will. */
  constructor(changed, done, ended) {
    Object.assign(this, { changed, done, ended });
    forget().catch(() => {});
  }

  /** Takes a file; false if it is on its way already. */
  add(file, options) {
    const upload = new Upload(file, options);
    if (this.list.some((other) => other.state !== 'refused' && other.fingerprint === upload.fingerprint)) return false;
    this.list.push(upload);
    this.#next();
    return true;
  }

  /** Ends one, and leaves nothing of it. */
  async cancel(upload) {
    // If the server does not hear of it, it throws it away after a day.
    await this.#giveUp(upload, upload.state !== 'refused').catch(() => {});
    this.ended();
  }

  /** Goes on with those that stopped, or with this one. */
  goOn(chosen = this.list) {
    chosen.filter((upload) => upload.state === 'stopped').forEach((upload) => this.#become(upload, 'waiting'));
    this.#next();
  }

  /** Nobody is signed in: what is under way waits. */
  hold() {
    for (const upload of this.list.filter((upload) => upload.state !== 'refused')) {
      upload.tus?.abort().catch(() => {});
      this.#become(upload, 'held');
    }
  }

  /** Somebody is signed in: what waited goes on, unless it is somebody else's. */
  release() {
    this.list.filter((upload) => upload.owner !== session.email).forEach((upload) => this.#giveUp(upload));
    this.list.filter((upload) => upload.state === 'held').forEach((upload) => this.#become(upload, 'waiting'));
    this.#next();
  }

  #become(upload, state, problem = null) {
    Object.assign(upload, { state, problem, left: null, marks: [] });
    this.changed();
  }

  /** Drops one, and has the server do the same if it is meant for good. */
  #giveUp(upload, forGood = false) {
    const told = upload.tus?.abort(forGood) ?? Promise.resolve();
    this.#become(upload, 'refused');
    this.#drop(upload);
    return told;
  }

  #drop(upload) {
    this.list = this.list.filter((other) => other !== upload);
    this.#next();
  }

  #next() {
    let free = AT_ONCE - this.list.filter((upload) => upload.isActive).length;
    for (const upload of this.list) {
      if (free > 0 && upload.state === 'waiting' && session.token) {
        free -= 1;
        this.#start(upload);
      }
    }
    this.changed();
  }

  async #start(upload) {
    this.#become(upload, 'sending');
    const mine = this.#tus(upload);
    upload.tus = mine;
    const [earlier] = await mine.findPreviousUploads().catch(() => []);
    if (earlier) mine.resumeFromPreviousUpload(earlier);
    // Held or cancelled meanwhile.
    if (upload.tus === mine && upload.isActive) mine.start();
  }

  #tus(upload) {
    const mine = new tus.Upload(upload.file, {
      endpoint: new URL('files', base).href,
      uploadUrl: upload.url,
      metadata: upload.metadata,
      fingerprint: async () => upload.fingerprint,
      removeFingerprintOnSuccess: true,
      retryDelays: DELAYS,
      onUploadUrlAvailable: () => this.#known(upload, mine),
      onBeforeRequest: (request) => {
        // One that was given up between two requests does not notice by itself.
        if (request.getMethod() !== 'DELETE' && !(upload.tus === mine && upload.isActive)) throw new Error('given up');
        upload.token = session.token;
        request.setHeader('Authorization', `Bearer ${upload.token}`);
      },
      onAfterResponse: (request, response) => this.#answered(upload, request.getMethod(), response.getStatus()),
      onShouldRetry: (err) => upload.tus === mine && this.#retries(upload, err),
      onProgress: (sent) => upload.tus === mine && this.#progressed(upload, sent),
      onError: (err) => upload.tus === mine && this.#failed(upload, err),
      onSuccess: () => this.#succeeded(upload),
    });
    return mine;
  }

  #succeeded(upload) {
    this.#drop(upload);
    this.done(upload);
  }

  /** The upload is on the server. Its address is told from ours: a proxy may have put a prefix before it. */
  #known(upload, mine) {
    upload.id = new URL(mine.url).pathname.split('/').pop();
    upload.url = new URL(`files/${upload.id}`, base).href;
    mine.url = upload.url;
    this.changed();
  }

  /**
   * Looks at an answer before the library does. When asking how far the upload is fails, the library takes that for a
   * sign that there is none, and begins anew: an error keeps it from that.
   */
  #answered(upload, method, status) {
    if (status === 401) {
      session.refuse(upload.token);
      throw new Error('the token was refused');
    }
    if (method !== 'HEAD' || status < 300) return;
    // One of an earlier visit may be gone, and begins anew. One of this visit was ended by somebody.
    upload.isGone = upload.id !== null && (status === 404 || status === 410);
    if (upload.isGone || status === 429 || status >= 500) throw new Error('the upload does not tell how far it is');
  }

  /** Whether something that failed is tried again. */
  #retries(upload, err) {
    if (!upload.isActive || upload.isGone) return false;
    const problem = of(err);
    // After a conflict the upload is asked how far it is, or that it is gone. 460: not all of it arrived as it was.
    if (!problem.passes && problem.status !== 409 && problem.status !== 460) return false;
    this.#become(upload, 'broken', problem);
    this.#look(upload);
    return true;
  }

  /** A file that was changed or taken away fails as a connection does. */
  #look(upload) {
    upload.file.slice(0, 1).arrayBuffer().catch(() => {
      upload.tus.abort();
      this.#become(upload, 'refused', new Problem(0, 'unreadable', texts.unreadable));
      this.#next();
    });
  }

  #failed(upload, err) {
    if (!upload.isActive) return;
    const problem = upload.isGone ? new Problem(404, 'gone', texts.uploadCancelled) : of(err);
    // What there is no room for now may find some later.
    const mayLater = problem.passes || problem.status === 429 || problem.status === 507;
    this.#become(upload, mayLater ? 'stopped' : 'refused', problem);
    this.#next();
  }

  #progressed(upload, sent) {
    if (!upload.isActive) return;
    if (upload.state === 'broken') this.#become(upload, 'sending');
    const now = performance.now();
    upload.marks = upload.marks.filter((mark) => mark.at > now - MEMORY);
    upload.marks.push({ at: now, sent });
    const took = now - upload.marks[0].at;
    const speed = (sent - upload.marks[0].sent) / took;
    upload.left = took > 1000 && speed > 0 ? (upload.total - sent) / speed / 1000 : null;
    upload.sent = sent;
    this.changed();
  }
}

/** The problem in an error of the library's. */
function of(err) {
  const response = err.originalResponse;
  return response ? Problem.of(response.getStatus(), response.getBody()) : Problem.unreachable();
}

/** Forgets uploads of long ago that were never finished. */
async function forget() {
  const { urlStorage } = tus.defaultOptions;
  for (const { creationTime, urlStorageKey } of await urlStorage.findAllUploads()) {
    if (Date.now() - Date.parse(creationTime) > FORGOTTEN) await urlStorage.removeUpload(urlStorageKey);
  }
}
