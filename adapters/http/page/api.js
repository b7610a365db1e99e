// Calls of the HTTP API, and their errors.
import { session } from './session.js';
import { texts } from './texts.js';

/** The API is one folder above this file, whatever prefix a proxy puts before it. */
export const base = new URL('../', import.meta.url);

/** What takes longer will not come any more (ms). The server's own patience is half of that. */
const PATIENCE = 30_000;

/** What went wrong: a problem document (RFC 9457), or no answer at all (status 0). */
export class Problem extends Error {
  constructor(status, code, detail) {
    super(explained(code, detail));
    Object.assign(this, { status, code });
  }

  /** Of a body that should be a problem document. */
  static of(status, body) {
    try {
      const { code, detail } = JSON.parse(body);
      return new Problem(status, String(code), String(detail));
    } catch {
      return new Problem(status, 'strange', texts.strangeAnswer(status));
    }
  }

  static unreachable() {
    return new Problem(0, 'unreachable', texts.unreachable);
  }

  /** Whether the same may work a little later. */
  get passes() {
    if (this.code === 'daily_quota') return false;
    return [0, 408, 423, 429].includes(this.status) || (this.status >= 500 && this.status !== 507);
  }
}

/** A sentence that says what is wrong, and one that says what to do, if there is one. */
export function explained(code, detail) {
  const sentence = detail.charAt(0).toUpperCase() + detail.slice(1);
  const stopped = /[.!?]$/.test(sentence) ? sentence : `${sentence}.`;
  return [stopped, texts.remedies[code]].filter(Boolean).join(' ');
}

async function send(path, options) {
  let response;
  try {
    // No cookies, and no dialog of the browser's own for a password.
    response = await fetch(new URL(path, base), { credentials: 'omit', ...options });
  } catch (err) {
    throw err.name === 'AbortError' ? err : Problem.unreachable();
  }
  if (response.ok) return response;
  throw Problem.of(response.status, await response.text().catch(() => ''));
}

/** Calls with the token. One that is refused ends the session. */
export async function call(path, { headers, ...options } = {}) {
  const { token } = session;
  try {
    return await send(path, { ...options, headers: { ...headers, Authorization: `Bearer ${token}` } });
  } catch (err) {
    if (err.status === 401) session.refuse(token);
    throw err;
  }
}

/** The same for an answer in JSON, which comes soon or not at all; `null` if there is nothing in it. */
export async function callForJson(path, options) {
  const response = await call(path, { signal: AbortSignal.timeout(PATIENCE), ...options });
  return response.status === 204 ? null : response.json();
}

export async function signIn(email, password) {
  // RFC 7617 §2.1: UTF-8, and only then base64.
  const credentials = String.fromCharCode(...new TextEncoder().encode(`${email}:${password}`));
  const headers = { Authorization: `Basic ${btoa(credentials)}` };
  const response = await send('login', { method: 'POST', headers, signal: AbortSignal.timeout(PATIENCE) });
  const { token } = await response.json();
  session.begin(email, token);
}
