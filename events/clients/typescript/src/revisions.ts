import type { Event } from "./types.js";

/**
 * Where the revision of the last handled event of each session is kept. It tells
 * events that come again, and that some are missing. One that is kept with the
 * handler's own data, in one transaction, makes each event take effect exactly once.
 */
export interface Revisions {
  /** The revision that set was last called with; undefined or 0 for a new session. */
  get(session: string): number | undefined | Promise<number | undefined>;
  /** Called when the event has been handled, before the stream hears of it. */
  set(session: string, revision: number): void | Promise<void>;
}

/** The key of an event's session: ids are unique in an account. */
export function sessionOf(event: Event): string {
  return `${event.source} ${event.subject}`;
}

/** Revisions in memory, of the sessions that had the latest events. */
export class MemoryRevisions implements Revisions {
  readonly #revisions = new Map<string, number>();

  /** @param limit how many sessions are remembered, at about 200 bytes each */
  constructor(readonly limit = 100_000) {}

  get(session: string): number | undefined {
    return this.#revisions.get(session);
  }

  set(session: string, revision: number): void {
    this.#revisions.delete(session); // so that it counts as the latest
    this.#revisions.set(session, revision);
    if (this.#revisions.size > this.limit) {
      this.#revisions.delete(this.#revisions.keys().next().value!);
    }
  }
}
