// The token, and until when it is valid. It lives in this tab's sessionStorage: never in a cookie, so that no other site can
// use it, and never in an address.

const KEYS = ["token", "expires_at"];
/** The longest time that a timer can wait. */
const LONGEST = 2 ** 31 - 1;

const ends = new EventTarget();
let kept = read();
let timer = 0;
watch();

function read() {
  try {
    return Object.fromEntries(KEYS.map((key) => [key, sessionStorage.getItem(key)]));
  } catch {
    // Storage is switched off in this browser: the token then lasts as long as the page.
    return {};
  }
}

function write() {
  try {
    for (const key of KEYS) {
      if (kept[key]) sessionStorage.setItem(key, kept[key]);
      else sessionStorage.removeItem(key);
    }
  } catch {
    // As above.
  }
}

/** Ends the session when the token does. */
function watch() {
  clearTimeout(timer);
  if (!kept.token || !kept.expires_at) return;
  const left = Date.parse(kept.expires_at) - Date.now();
  timer = setTimeout(() => (left > LONGEST ? watch() : end("token_expired")), Math.min(Math.max(left, 0), LONGEST));
}

export const token = () => kept.token || "";
export const expiry = () => (kept.expires_at ? new Date(kept.expires_at) : null);

/** Begins with the answer to a sign-in, or with a token alone. */
export function begin(signedIn) {
  kept = { token: signedIn.token, expires_at: signedIn.expires_at };
  write();
  watch();
}

/** Forgets the token. The reason is a problem's code, or nothing where the user wanted it. */
export function end(reason = "") {
  if (!kept.token) return;
  kept = {};
  write();
  watch();
  ends.dispatchEvent(new CustomEvent("end", { detail: reason }));
}

export function onEnd(deal) {
  ends.addEventListener("end", (event) => deal(event.detail));
}
