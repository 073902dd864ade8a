// What k6 has beside the language and @types/k6 does not name.
declare const console: Record<'debug' | 'info' | 'log' | 'warn' | 'error', (...words: unknown[]) => void>;
