// The jobs: a list that is asked for now and then, and a few streams of events for those that are under way.
import { callForJson } from './api.js';
import { follow, isFinal } from './events.js';
import { session } from './session.js';

const PAGE = 50;
/** While something is unfinished, the list is asked for this often (ms). */
const EVERY = 15_000;
/** Streams at a time. A browser opens six connections to a host, and uploads want some. */
const STREAMS = 3;

export class Jobs {
  #jobs = new Map();
  /** When each job was last told of, so that an answer that was on its way before doesn't count. */
  #toldAt = new Map();
  #deleted = new Set();
  #streams = new Map();
  #wanted = PAGE;
  #timer = null;
  #asking = null;

  hasMore = false;
  /** Whether the list was ever seen. */
  isKnown = false;
  /** Why it can't be asked for, or nothing. */
  problem = null;

  /** `changed` is called with every change, `becomes` with a job and the status that it had. */
  constructor(changed, becomes, uploadsUnderWay) {
    Object.assign(this, { changed, becomes, uploadsUnderWay });
  }

  /** Newest first, as the server sorts them. */
  get list() {
    const key = (job) => `${job.created_at} ${job.job_id}`;
    return [...this.#jobs.values()].sort((a, b) => (key(a) < key(b) ? 1 : -1));
  }

  /** Asks for the list; nothing while nobody looks. */
  refresh() {
    this.#asking ??= this.#ask().finally(() => { this.#asking = null; });
    return this.#asking;
  }

  more() {
    this.#wanted += PAGE;
    return this.refresh();
  }

  /** Nobody looks any more. */
  pause() {
    clearTimeout(this.#timer);
    this.#streams.forEach((stream) => stream.abort());
    this.#streams.clear();
  }

  /** Somebody else may look. */
  clear() {
    this.pause();
    [this.#jobs, this.#toldAt, this.#deleted] = [new Map(), new Map(), new Set()];
    Object.assign(this, { hasMore: false, isKnown: false, problem: null });
    this.#wanted = PAGE;
    this.changed();
  }

  /** Asks for one job. */
  async load(id) {
    this.#told(await callForJson(`jobs/${id}`));
  }

  /** Cancels one that is under way, deletes one that is final with its files. */
  async remove(id) {
    const cancelled = await callForJson(`jobs/${id}`, { method: 'DELETE' });
    if (cancelled) this.#told(cancelled);
    else this.#forget(id);
  }

  async retry(id) {
    this.#told(await callForJson(`jobs/${id}/retry`, { method: 'POST' }));
  }

  async #ask() {
    if (document.hidden || !session.token) return;
    const [askedAt, token] = [performance.now(), session.token];
    clearTimeout(this.#timer);
    try {
      const found = new Map();
      let cursor = '';
      do {
        const page = await callForJson(`jobs?limit=${PAGE}${cursor}`);
        page.jobs.forEach((job) => found.set(job.job_id, job));
        cursor = page.next_cursor ? `&cursor=${encodeURIComponent(page.next_cursor)}` : '';
      } while (cursor && found.size < this.#wanted);
      // Somebody else, who has not seen anything yet.
      if (session.token !== token) return this.#ask();
      this.#replace(found, askedAt);
      Object.assign(this, { hasMore: cursor !== '', isKnown: true, problem: null });
    } catch (err) {
      this.problem = err;
    }
    this.#changed();
  }

  #replace(found, askedAt) {
    const isNewer = (id) => (this.#toldAt.get(id) ?? 0) > askedAt;
    for (const id of this.#jobs.keys()) {
      if (!found.has(id) && !isNewer(id)) this.#jobs.delete(id);
    }
    for (const [id, job] of found) {
      if (!this.#deleted.has(id) && !isNewer(id)) this.#put(job);
    }
  }

  #told(job) {
    this.#toldAt.set(job.job_id, performance.now());
    this.#put(job);
    this.#changed();
  }

  #put(job) {
    const before = this.#jobs.get(job.job_id)?.status;
    this.#jobs.set(job.job_id, job);
    if (before && before !== job.status) this.becomes(job, before);
  }

  #forget(id) {
    this.#deleted.add(id);
    this.#jobs.delete(id);
    this.#changed();
  }

  #changed() {
    clearTimeout(this.#timer);
    const isUnfinished = this.list.some((job) => !isFinal(job));
    if (!document.hidden && session.token && (isUnfinished || this.problem)) {
      this.#timer = setTimeout(() => this.refresh(), EVERY);
    }
    this.#follow();
    this.changed();
  }

  /** Follows as many of the jobs under way as there may be streams, those first that have waited longest. */
  #follow() {
    if (document.hidden || !session.token) return;
    const free = Math.max(1, STREAMS - this.uploadsUnderWay()) - this.#streams.size;
    const waiting = this.list.reverse().filter((job) => ['queued', 'converting'].includes(job.status));
    for (const job of waiting.filter((job) => !this.#streams.has(job.job_id)).slice(0, Math.max(0, free))) {
      this.#stream(job.job_id);
    }
  }

  async #stream(id) {
    const stream = new AbortController();
    this.#streams.set(id, stream);
    try {
      await follow(id, (job) => this.#streams.get(id) === stream && this.#told(job), stream.signal);
    } catch (err) {
      if (err.status === 404) this.#forget(id);
    }
    if (this.#streams.get(id) !== stream) return;
    this.#streams.delete(id);
    this.#follow();
  }
}
