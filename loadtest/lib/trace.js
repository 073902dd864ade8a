// W3C Trace Context: each call begins a trace of its own, so that a slow call in k6 leads to what the service did meanwhile.

import { number } from './settings.js';

/** Part of the calls that ask to be sampled. The service follows it (its default sampler is parent-based). */
const RATIO = number('TRACE_RATIO', 1);

/** @param {number} digits */
function hexadecimal(digits) {
  let written = '';
  while (written.length < digits) {
    written += Math.floor(Math.random() * 0x100000000)
      .toString(16)
      .padStart(8, '0');
  }
  return written.slice(0, digits);
}

/** An identifier that no other run, user or call has. */
export function unique() {
  return hexadecimal(32);
}

/** The trace of one call; its repeats belong to it as well. */
export class Trace {
  constructor() {
    this.id = hexadecimal(32);
    this.flags = Math.random() < RATIO ? '01' : '00';
  }

  /** The header of one attempt. */
  traceparent() {
    return `00-${this.id}-${hexadecimal(16)}-${this.flags}`;
  }
}
