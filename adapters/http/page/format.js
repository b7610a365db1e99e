// Sizes, times and shares for people to read.
import { texts } from './texts.js';

const UNITS = ['byte', 'kilobyte', 'megabyte', 'gigabyte', 'terabyte'];

export function bytes(count) {
  const step = Math.min(Math.floor(Math.log10(Math.max(count, 1)) / 3), UNITS.length - 1);
  const value = count / 1000 ** step;
  const digits = step > 0 && value < 10 ? 1 : 0;
  const unitDisplay = step > 0 ? 'short' : 'long';
  return number(value, { style: 'unit', unit: UNITS[step], unitDisplay, maximumFractionDigits: digits });
}

/** A length as players write it: 3:21, or 1:02:03. */
export function clock(seconds) {
  const whole = Math.round(seconds);
  const [h, m, s] = [Math.floor(whole / 3600), Math.floor(whole / 60) % 60, whole % 60];
  const two = (n) => String(n).padStart(2, '0');
  return h ? `${h}:${two(m)}:${two(s)}` : `${m}:${two(s)}`;
}

/** A time to wait, roughly. */
export function roughly(seconds) {
  let [value, unit] = [seconds / 3600, 'hour'];
  if (seconds < 5400) [value, unit] = [seconds / 60, 'minute'];
  if (seconds < 60) [value, unit] = [Math.ceil(seconds / 5) * 5, 'second'];
  return number(Math.max(1, Math.round(value)), { style: 'unit', unit, unitDisplay: 'long' });
}

export const percent = (share) => number(Math.floor(share * 100) / 100, { style: 'percent' });

export const bitrate = (bitsPerSecond) => texts.bitrate(Math.round(bitsPerSecond / 1000));

export const date = (time) => new Date(time).toLocaleString(texts.locale, { dateStyle: 'medium', timeStyle: 'short' });

const number = (value, style) => new Intl.NumberFormat(texts.locale, style).format(value);
