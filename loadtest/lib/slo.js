// The objectives, as monitoring/slo.yaml states them. k6 cannot read YAML, so they are repeated here, and a test compares.

/** Part of the requests to /v1/ that must not end in a 5xx. */
export const AVAILABILITY = 0.999;

/** Part of the 2xx answers to `next` and `current` that must come within LATENCY_SECONDS. */
export const LATENCY = 0.99;
export const LATENCY_SECONDS = 0.1;
