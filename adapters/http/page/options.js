// The options of a conversion: a form, and what is in it as the API names it. Every file that is chosen then gets them.
import { $, make, write } from './dom.js';
import { texts } from './texts.js';

const BITRATES = [320, 256, 224, 192, 160, 128, 112, 96, 80, 64, 56, 48, 40, 32];
const LEVELS = [0, 1, 2, 3, 4, 5, 6, 7, 8, 9];
const LOUDNESSES = [-14, -16, -19, -23];
const SAMPLE_RATES = [48_000, 44_100, 32_000, 24_000, 22_050, 16_000, 12_000, 11_025, 8000];

const TIME = /^(\d+:){0,2}\d+(\.\d+)?$/;
const TRACK = /^([1-9]\d*|[A-Za-z][A-Za-z0-9-]{1,34})$/;

const choice = (value, label) => make('option', { value, textContent: label });
const choices = (labels, order = Object.keys(labels)) => order.map((value) => choice(value, labels[value]));
const group = (label, ...content) => make('optgroup', { label }, ...content);

/** Its fields in their order: those with choices, and those with a text. */
const FIELDS = {
  preset: () => choices(texts.presets),
  quality: () => [
    choice('', texts.usual),
    group(texts.variable, ...LEVELS.map((level) => choice(`vbr ${level}`, texts.level(level)))),
    group(texts.constant, ...BITRATES.map((kbps) => choice(`bitrate ${kbps}`, texts.bitrate(kbps)))),
  ],
  channels: () => choices(texts.channelCounts, ['', '2', '1']),
  normalize: () => [...choices(texts.loudnesses), ...LOUDNESSES.map((lufs) => choice(lufs, texts.loudness(lufs)))],
  sample_rate: () => [choice('', texts.usual), ...SAMPLE_RATES.map((rate) => choice(rate, texts.hertz(rate)))],
  track: null,
  start: null,
  end: null,
  title: null,
  artist: null,
  album: null,
  date: null,
};

const inputs = {};

/** Puts the fields into the page. */
export function show() {
  const form = $('options-form');
  for (const [name, options] of Object.entries(FIELDS)) {
    const id = `option-${name}`;
    const problem = make('span', { id: `${id}-problem`, className: 'problem', hidden: true });
    const input = options
      ? make('select', { id }, ...options())
      : make('input', { id, type: 'text', autocomplete: 'off', maxLength: 255, placeholder: texts.hint[name] ?? '' });
    input.setAttribute('aria-describedby', problem.id);
    input.addEventListener('change', check);
    inputs[name] = { input, problem };
    const label = make('label', { htmlFor: id, textContent: texts.option[name] });
    form.append(make('div', { className: 'field' }, label, input, problem));
  }
  const reset = make('button', { type: 'button', className: 'quiet', textContent: texts.optionsReset });
  reset.addEventListener('click', () => {
    form.reset();
    check();
  });
  form.append(reset);
  form.addEventListener('submit', (event) => event.preventDefault());
}

/** What is set, by its name in the API. */
function filled() {
  const options = {};
  for (const [name, { input }] of Object.entries(inputs)) {
    const value = input.value.trim();
    // A quality says itself by which option it is asked for.
    const [option, setting] = name === 'quality' ? value.split(' ') : [name, value];
    if (setting) options[option] = setting;
  }
  return options;
}

const seconds = (time) => time.split(':').reduce((sum, part) => sum * 60 + Number(part), 0);

/** Tells what is wrong beside each field; the first that is, or nothing. */
function check() {
  const value = (name) => inputs[name].input.value.trim();
  const wrong = {};
  for (const name of ['start', 'end']) {
    if (value(name) && !TIME.test(value(name))) wrong[name] = texts.wrong.time;
  }
  if (value('track') && !TRACK.test(value('track'))) wrong.track = texts.wrong.track;
  const isOrdered = !value('start') || !value('end') || seconds(value('start')) < seconds(value('end'));
  if (!wrong.start && !wrong.end && !isOrdered) wrong.end = texts.wrong.order;
  for (const [name, { input, problem }] of Object.entries(inputs)) {
    write(problem, wrong[name] ?? '');
    input.ariaInvalid = name in wrong ? 'true' : 'false';
  }
  write($('options-set'), texts.optionsSet(Object.keys(filled()).length));
  return Object.keys(wrong)[0];
}

/** The options for an upload; nothing while one is wrong, which gets the focus. */
export function read() {
  const wrong = check();
  if (!wrong) return filled();
  $('options').open = true;
  inputs[wrong].input.focus();
  return null;
}
