// What each problem is in words, for people: what happened, whether something was done, and what helps.

const FAULT = "This page and the service do not understand each other. Reload the page; if it stays so, tell whoever runs the service.";
const NOTHING_DONE = "Nothing was done.";
const SIGN_IN_AGAIN = "Sign in again.";

const WORDS = {
  // Of this page: there was no answer, or none of the service's.
  offline: "This device is offline.",
  no_answer: "The service does not answer.",
  strange_answer: "Something between this page and the service answered in its place.",

  malformed_body: FAULT,
  malformed_query: FAULT,
  conflicting_tokens: FAULT,
  method_not_allowed: FAULT,
  not_acceptable: FAULT,
  unsupported_media_type: FAULT,
  idempotency_key_reused: FAULT,
  token_missing: `You are not signed in. ${SIGN_IN_AGAIN}`,
  token_invalid: `The service does not know your token. ${SIGN_IN_AGAIN}`,
  token_expired: `Your time is over: tokens end by themselves. ${SIGN_IN_AGAIN}`,
  token_revoked: `You were signed out, in another tab or program, or the account was deleted. ${SIGN_IN_AGAIN}`,
  invalid_credentials: "The e-mail address or the password is wrong.",
  not_found: "It is not there. Somebody may have deleted it.",
  request_timeout: `The request came too slowly. ${NOTHING_DONE} Try again.`,
  email_taken: "This e-mail address has an account. Sign in, or take another address.",
  counter_exhausted: `So many numbers are not left: the counter ends at 9007199254740991. ${NOTHING_DONE}`,
  idempotency_key_in_flight: "The first try is still under way.",
  quota_reached: `You have as many counters as you may have. ${NOTHING_DONE} Delete one first.`,
  precondition_failed: `The counter has changed meanwhile. ${NOTHING_DONE}`,
  body_too_large: `That is too much at once. ${NOTHING_DONE}`,
  invalid_field: "Something is not right yet.",
  rate_limited: "Too many tries.",
  internal: "Something is wrong in the service. Tell whoever runs it.",
  store_unavailable: `The database does not answer. ${NOTHING_DONE}`,
  overloaded: `The service has too much to do. ${NOTHING_DONE}`,
  draining: `The service is being restarted. ${NOTHING_DONE}`,
  outcome_unknown: "Nobody knows whether it was done.",

  // Of sign-in with a provider: what the service says, and what comes back with the address.
  signin_code_invalid: `That took longer than a minute, or had too many tries, or began in another browser. ${SIGN_IN_AGAIN}`,
  access_denied: "You said no there, so you are not signed in.",
  flow_expired: `No sign-in is under way in this browser, or it took longer than ten minutes. ${SIGN_IN_AGAIN}`,
  flow_mismatch: `What came back is the answer to another sign-in. ${SIGN_IN_AGAIN}`,
  provider_unavailable: "The other side does not answer. Try again later, or sign in another way.",
  provider_refused: "The other side refused. Try again, or sign in another way.",
  provider_invalid: "What the other side said cannot be believed. Tell whoever runs the service.",
  link_required: "An account with a password has this e-mail address.",
  last_sign_in_method: "You could not sign in any more: it is the last way that is left.",
};

/** The codes that have words of their own. */
export const KNOWN = Object.keys(WORDS);

/** A problem in words. */
export function words({ code, status, after, errors = [] }) {
  const text = WORDS[code] ?? `It did not work (${codeIn(code) || status}).`;
  // What a form does not show at its fields is said here.
  const faults = errors.map(({ field, message }) => ` ${field} ${message}.`).join("");
  return text + faults + wait(code, after);
}

function wait(code, after) {
  if (code === "rate_limited") return after ? ` Try again in ${after === 1 ? "1 second" : `${after} seconds`}.` : " Try again in a minute.";
  return "";
}

/** A code as it can be shown: one that comes with the address could be anything. */
function codeIn(code) {
  return /^[a-z0-9_]{1,40}$/.test(code ?? "") ? code : "";
}
