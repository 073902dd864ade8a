// What a sign-in with a provider leaves in the address, #signin_code=… or #signin_error=…&trace_id=…, is taken out of it at once: out of
// the history, and out of sight of whoever looks at the screen. Nothing is imported here, so that nothing comes before.

const arrivals = new EventTarget();
let waiting = take();

/** Takes a sign-in's end out of the address: `{ code }`, `{ error, trace }`, or nothing. */
function take() {
  const found = new URLSearchParams(location.hash.slice(1));
  const [code, error] = [found.get("signin_code"), found.get("signin_error")];
  if (code === null && error === null) return null;
  history.replaceState(null, "", location.pathname + location.search);
  return code === null ? { error, trace: found.get("trace_id") } : { code };
}

addEventListener("hashchange", () => {
  waiting = take() ?? waiting;
  if (waiting) arrivals.dispatchEvent(new Event("arrival"));
});

/** The end of a sign-in that nobody has dealt with yet, once. */
export function arrival() {
  const found = waiting;
  waiting = null;
  return found;
}

/** Calls when one comes later, in a page that is open. */
export function onArrival(deal) {
  arrivals.addEventListener("arrival", deal);
}
