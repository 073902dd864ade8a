// Asks for values again and again: each second while they change, up to each ten while they do not, more and more seldom while
// nobody answers, and never while the tab is hidden.

const SOONEST = 1_000;
const IDLE = 10_000;
const FAILING = [2_000, 30_000];

export class Poll {
  #ask;
  #tell;
  #timer = 0;
  #wait = SOONEST;
  #running = false;
  #asking = false;

  /**
   * `ask` asks, and says whether something has changed and how long to wait at least: `{ changed, spare }`.
   * `tell` is told how it goes: `{ state: "live" | "failing" | "paused", wait, problem }`.
   */
  constructor(ask, tell) {
    this.#ask = ask;
    this.#tell = tell;
    document.addEventListener("visibilitychange", () => this.#wake());
    addEventListener("online", () => this.#wake());
  }

  start() {
    this.#running = true;
    this.soon();
  }

  stop() {
    this.#running = false;
    clearTimeout(this.#timer);
  }

  /** Asks at once, and often from now on. */
  soon() {
    this.#wait = SOONEST;
    this.#wake();
  }

  #wake() {
    clearTimeout(this.#timer);
    if (!this.#running) return;
    if (document.hidden) this.#tell({ state: "paused" });
    else this.#turn();
  }

  async #turn() {
    if (this.#asking) return;
    this.#asking = true;
    let said;
    try {
      const { changed, spare = 0 } = await this.#ask();
      this.#wait = Math.max(changed ? SOONEST : Math.min(this.#wait * 1.5, IDLE), spare);
      said = { state: "live" };
    } catch (problem) {
      const longer = Math.min(Math.max(this.#wait * 2, FAILING[0]), FAILING[1]);
      // Not all tabs at the same moment: a service that comes back is not to be run down.
      this.#wait = Math.max(longer * (0.8 + Math.random() * 0.4), (problem.after ?? 0) * 1000);
      said = { state: "failing", problem };
    }
    this.#asking = false;
    if (!this.#running || document.hidden) return;
    this.#tell({ ...said, wait: this.#wait });
    this.#timer = setTimeout(() => this.#wake(), this.#wait);
  }
}
