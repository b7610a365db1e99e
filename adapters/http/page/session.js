// Who is signed in: a token and its e-mail address, kept until somebody signs out or the server refuses it. All tabs
// share it, and follow each other.

// Another microserve may live on the same host, below another path.
const KEY = `microserve ${new URL('../', import.meta.url).pathname}`;

let current = read();
const listeners = [];

function read() {
  try {
    const { token, email } = JSON.parse(localStorage.getItem(KEY));
    return typeof token === 'string' && typeof email === 'string' ? { token, email } : null;
  } catch {
    return null;
  }
}

function keep() {
  try {
    if (current) localStorage.setItem(KEY, JSON.stringify(current));
    else localStorage.removeItem(KEY);
  } catch {
    // A browser that keeps nothing: this tab is signed in all the same.
  }
}

function become(session, why) {
  current = session;
  listeners.forEach((listener) => listener(why));
}

export const session = {
  get token() {
    return current?.token ?? null;
  },

  get email() {
    return current?.email ?? null;
  },

  begin(email, token) {
    current = { email, token };
    keep();
    become(current, 'begun');
  },

  /** `why` is `signedOut`, or `refused` by the server. */
  end(why) {
    current = null;
    keep();
    become(null, why);
  },

  /** The server knows this token no longer. A newer one may be in use by now. */
  refuse(token) {
    if (current && current.token === token) this.end('refused');
  },

  onChange(listener) {
    listeners.push(listener);
  },
};

// Another tab signed in or out. `null` is all keys.
addEventListener('storage', (event) => {
  if (event.key !== KEY && event.key !== null) return;
  const [before, now] = [current?.token, read()];
  if (before !== now?.token) become(now, now ? 'begun' : 'elsewhere');
});
