// An upload in the list: how far it is, and how long it will take.
import { fill, make, write } from './dom.js';
import { bytes, roughly } from './format.js';
import { texts } from './texts.js';

export class UploadRow {
  constructor(upload, uploads) {
    const { name } = upload;
    this.state = make('p', { className: 'state' });
    this.bar = make('progress', { max: 1, 'aria-label': texts.uploadOf(name) });
    this.problem = make('p', { className: 'problem', role: 'alert', hidden: true });
    const button = (act) => {
      const made = make('button', { type: 'button' });
      made.addEventListener('click', act);
      return made;
    };
    this.again = button(() => uploads.goOn([upload]));
    this.cancel = button(() => uploads.cancel(upload));
    this.name = name;
    this.element = make('li', { className: 'card row', tabIndex: -1, 'aria-label': name },
      make('div', { className: 'head' }, make('h3', {}, make('bdi', { textContent: name }))),
      this.state, this.bar, this.problem, make('div', { className: 'actions' }, this.again, this.cancel));
  }

  update(upload) {
    const { state, sent, total, problem } = upload;
    this.element.dataset.status = state;
    write(this.state, stateOf(upload));
    this.bar.hidden = state === 'refused';
    fill(this.bar, state === 'sending' && sent === total ? null : sent / total);
    write(this.problem, ['stopped', 'refused'].includes(state) && problem ? problem.message : '');
    this.#label(this.again, texts.retry);
    this.#label(this.cancel, state === 'refused' ? texts.remove : texts.cancel);
    this.again.hidden = state !== 'stopped';
  }

  #label(button, word) {
    if (button.textContent === word) return;
    button.textContent = word;
    button.setAttribute('aria-label', texts.of(word, this.name));
  }
}

function stateOf({ state, sent, total, left }) {
  const words = texts.upload[state];
  if (state === 'broken') return words(bytes(sent), bytes(total));
  if (state !== 'sending') return words;
  return sent === total ? texts.upload.checking : words(bytes(sent), bytes(total), left === null ? '' : roughly(left));
}
