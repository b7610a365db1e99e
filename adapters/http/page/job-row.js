// A job in the list: what it is, how it stands, and what can be done with it.
import { explained } from './api.js';
import { ask, fill, make, say, write } from './dom.js';
import { isFinal } from './events.js';
import { bitrate, bytes, clock, date, percent } from './format.js';
import { download, play } from './player.js';
import { texts } from './texts.js';

export class JobRow {
  #job = null;
  #player = null;
  #problem = '';

  constructor(job, jobs) {
    this.jobs = jobs;
    const name = job.filename;
    this.state = make('p', { className: 'state' });
    this.bar = make('progress', { max: 1, 'aria-label': texts.conversionOf(name) });
    this.problem = make('p', { className: 'problem', role: 'alert', hidden: true });
    this.sound = make('div', { className: 'sound' });
    this.buttons = {
      play: this.#button('play', () => this.#togglePlayer(), 'soft'),
      download: this.#button('download', () => this.#busily(this.buttons.download, () => download(this.#job))),
      retry: this.#button('retry', () => this.jobs.retry(job.job_id)),
      cancel: this.#button('cancel', () => this.jobs.remove(job.job_id)),
      delete: this.#button('delete', () => this.#delete(), 'quiet'),
    };
    const buttons = Object.values(this.buttons);
    for (const button of buttons) button.setAttribute('aria-label', texts.of(button.textContent, name));
    this.element = make('li', { className: 'card row', tabIndex: -1, 'aria-label': name },
      make('div', { className: 'head' },
        make('h3', {}, make('bdi', { textContent: name })),
        make('time', { className: 'faint', dateTime: job.created_at, textContent: date(job.created_at) })),
      this.state, this.bar, this.problem,
      make('div', { className: 'actions' }, ...buttons), this.sound);
  }

  update(job) {
    if (this.#job?.status !== job.status) this.#problem = '';
    this.#job = job;
    const [isDone, underWay] = [job.status === 'done', !isFinal(job)];
    this.element.dataset.status = job.status;
    write(this.state, stateOf(job));
    this.bar.hidden = !underWay || job.status === 'uploading';
    fill(this.bar, job.status === 'converting' ? job.progress : null);
    write(this.problem, this.#problem || (job.error ? explained(job.error.code, job.error.detail) : ''));
    const retry = ['failed', 'cancelled'].includes(job.status);
    this.#show({ play: isDone, download: isDone, retry, cancel: underWay, delete: !underWay });
    if (!isDone) this.close();
  }

  /** Stops what it plays. */
  close() {
    this.#player?.close();
  }

  #show(visible) {
    const focused = document.activeElement;
    for (const [name, button] of Object.entries(this.buttons)) button.hidden = !visible[name];
    // A button that is gone leaves the focus nowhere.
    if (this.element.contains(focused) && focused.hidden) this.element.focus();
  }

  #button(action, act, className = '') {
    const button = make('button', { type: 'button', className, textContent: texts[action] });
    button.addEventListener('click', () => this.#try(act));
    return button;
  }

  /** Does something; what goes wrong is told here. */
  async #try(act) {
    this.#problem = '';
    try {
      await act();
    } catch (err) {
      this.#problem = err.message;
      if (err.status === 404) this.jobs.refresh();
    }
    this.update(this.#job);
  }

  async #delete() {
    const { job_id: id, filename } = this.#job;
    if (!await ask(texts.deleteQuestion(filename), texts.keep, texts.delete)) return;
    await this.jobs.remove(id);
    say(texts.deleted(filename));
  }

  /** Shows that a button's work takes its time. */
  async #busily(button, work) {
    const label = button.textContent;
    if (button.ariaBusy === 'true') return;
    [button.ariaBusy, button.textContent] = ['true', texts.fetching];
    try {
      await work();
    } finally {
      [button.ariaBusy, button.textContent] = ['false', label];
    }
  }

  async #togglePlayer() {
    if (this.#player) return this.#player.close();
    const button = this.buttons.play;
    const label = (word) => {
      button.textContent = word;
      button.setAttribute('aria-label', texts.of(word, this.#job.filename));
    };
    this.#player = play(this.#job, this.sound, () => {
      this.#player = null;
      label(texts.play);
    });
    label(texts.stop);
    await this.#player.started;
  }
}

function stateOf(job) {
  const words = texts.job[job.status] ?? job.status;
  switch (job.status) {
    case 'converting':
      return job.phase === 'storing' ? texts.job.storing : words(percent(job.progress));
    case 'done': {
      const { duration, size, bitrate: rate } = job.output ?? {};
      return words([duration && clock(duration), size && bytes(size), rate && bitrate(rate)].filter(Boolean));
    }
    default:
      return words;
  }
}
