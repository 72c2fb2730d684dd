import type { JsMsg } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { Verdict } from "./errors.js";
import { decode, type EventOf, type Kind, kindOf, kinds } from "./event.js";
import { MemoryRevisions, type Revisions, sessionOf } from "./revisions.js";
import { longest, pause } from "./pause.js";
import { open, type Source } from "./source.js";
import { filters } from "./subjects.js";
import type { Event } from "./types.js";

/**
 * Where a new consumer starts: with what is stored from now on, with the oldest event
 * that the stream holds, or with the first that was stored at a time or a sequence.
 */
export type From = "now" | "start" | { time: Date } | { sequence: number };

/** Times are in milliseconds. */
export interface Settings<K extends Kind = Kind> {
  /** The stream and the subjects' prefix: `GUEST_SESSIONS` and `guest.sessions` unless configured. */
  stream?: string;
  prefix?: string;
  /** Which events; absent or empty means all. An event belongs to the location in which its session is after the change. */
  account?: string;
  locations?: readonly string[];
  kinds?: readonly K[];
  /**
   * The name of the place in the stream that is kept across restarts. Every event is
   * delivered until its handler is done with it, so at least once; several processes
   * of the same durable share the events. Without a name the place is forgotten at the
   * end: for replays and live views.
   */
  durable?: string;
  /** Where a new consumer starts; `now` unless set. A durable that exists goes on from its place. */
  from?: From;
  /** Permits to change account, locations and kinds of a durable that exists; else that is a DurableDiffersError. */
  refilter?: boolean;
  /** How long the stream waits for news of an event that a crashed process had in hand; 30 000 unless set, at least 100. */
  ackWait?: number;
  /** How often an event is tried before it is given up; 0, the default, means without limit. */
  maxDeliver?: number;
  /** The wait after the attempt (1, 2, 3 …) that has just failed; defaultBackoff unless set. retryAfter wins. */
  backoff?: (attempt: number) => number;
  /** How long a handler may go on after the signal, until its own signal aborts; 10 000 unless set. */
  grace?: number;
  /** What was handled of each session; a MemoryRevisions of its own unless set. */
  revisions?: Revisions;
  /** Ends the consumer. */
  signal?: AbortSignal;
  /** Told of every delivery that failed, and of messages that are no events; a warning on the console unless set. */
  onError?: (failure: Failure) => void;
  /** Called once when every matching event that is stored from then on will be delivered. */
  onReady?: () => void;
}

/** An event as the stream hands it over. */
export interface Delivery<E extends Event = Event> {
  event: E;
  kind: Kind;
  subject: string;
  /** The event's sequence in the stream, and when it was stored. */
  sequence: number;
  stored: Date;
  /** 1 for the first delivery of the event to this consumer. */
  attempt: number;
  /** How many events wait behind this one: at 0 a replay has caught up. */
  pending: number;
  /**
   * How many events of the session are missing between the last one that was handled
   * and this one; of a session that was not known, how many it had before. Every event
   * holds the whole session, so going on is right. undefined where locations or kinds
   * leave events out.
   */
  missing: number | undefined;
}

/** What onError is told of. */
export interface Failure {
  error: unknown;
  /** undefined where the message is not an event. */
  delivery: Delivery | undefined;
  subject: string;
  sequence: number;
  /** True when the event will not be delivered again. */
  final: boolean;
  /** The time until the next delivery, unless final. */
  retry: number;
}

/** The wait after the attempt: 1 s, 2 s, 4 s … up to 1 min. */
export function defaultBackoff(attempt: number): number {
  return Math.min(60_000, 1_000 * 2 ** (Math.max(1, attempt) - 1));
}

/**
 * Hands events to handle, one at a time and in the order of the stream, until the
 * signal aborts; then it waits for the handler in hand and returns. An event is done
 * when handle returns; when it throws, the event comes again after the backoff, or as
 * retryAfter and discard say, and no later one comes before it. An event of a revision
 * that was handled already is skipped.
 *
 * It throws at once where the settings are wrong or the stream cannot be read, and
 * later when stream or durable are deleted or the connection is closed. A lost
 * connection is waited out as long as nc reconnects: connect with
 * `maxReconnectAttempts: -1`.
 */
export async function consume<K extends Kind = Kind>(
  nc: NatsConnection,
  settings: Settings<K>,
  handle: (delivery: Delivery<EventOf<K>>, signal: AbortSignal) => unknown,
): Promise<void> {
  const s = settle(settings);
  const source = await open(nc, {
    ...s,
    filters: filters(s.prefix, settings.account, settings.locations, settings.kinds),
    durable: settings.durable,
  });
  settings.onReady?.();
  const handling = new AbortController();
  let grace: NodeJS.Timeout | undefined;
  const stop = () => { grace = setTimeout(() => handling.abort(s.signal.reason), Math.min(s.grace, longest)); };
  s.signal.addEventListener("abort", stop);
  try {
    const run = new Run(s, source, handle as (delivery: Delivery, signal: AbortSignal) => unknown, handling.signal);
    for await (const m of source.messages(s.signal)) await run.take(m);
  } finally {
    s.signal.removeEventListener("abort", stop);
    clearTimeout(grace);
    if (!nc.isClosed()) await nc.flush(); // else the acks are lost, and their events come again
  }
}

type Settled = ReturnType<typeof settle>;

function settle(settings: Settings) {
  const locations = settings.locations ?? [];
  const chosen = settings.kinds ?? [];
  const s = {
    stream: settings.stream || "GUEST_SESSIONS",
    prefix: settings.prefix || "guest.sessions",
    from: settings.from ?? ("now" as From),
    refilter: settings.refilter ?? false,
    ackWait: settings.ackWait ?? 30_000,
    maxDeliver: settings.maxDeliver ?? 0,
    backoff: settings.backoff ?? defaultBackoff,
    grace: settings.grace ?? 10_000,
    revisions: settings.revisions ?? new MemoryRevisions(),
    signal: settings.signal ?? new AbortController().signal,
    onError: settings.onError ?? warn,
    whole: locations.length === 0 && (chosen.length === 0 || kinds.every((kind) => chosen.includes(kind))),
  };
  const unknown = chosen.find((kind) => !kinds.includes(kind));
  if (unknown !== undefined) throw new RangeError(`kinds: ${JSON.stringify(unknown)} is unknown; the kinds are ${kinds.join(", ")}`);
  if (locations.includes("")) throw new RangeError("locations: an empty id; leave it out, an empty list takes all locations");
  if (!(s.ackWait >= 100)) throw new RangeError(`ackWait is ${s.ackWait}; set 100 or more`);
  if (!Number.isInteger(s.maxDeliver) || s.maxDeliver < 0) throw new RangeError(`maxDeliver is ${s.maxDeliver}; set 1 or more, or 0 for no limit`);
  if (!(s.grace >= 0)) throw new RangeError(`grace is ${s.grace}; set 0 or more`);
  return s;
}

function warn({ error, subject, sequence, final, retry }: Failure): void {
  const next = final ? "it will not come again" : `again in ${retry} ms`;
  console.warn(`guest session event ${sequence} on ${subject} failed, ${next}: ${error instanceof Error ? error.message : error}`);
}

class Run {
  constructor(
    readonly s: Settled,
    readonly source: Source,
    readonly handle: (delivery: Delivery, signal: AbortSignal) => unknown,
    readonly handling: AbortSignal,
  ) {}

  /** Handles one message, as often as it takes where the stream does not repeat it. */
  async take(m: JsMsg): Promise<void> {
    let event: Event;
    try {
      event = decode(m.data);
    } catch (error) {
      if (this.source.acks) m.term(reason(error));
      this.s.onError({ error, delivery: undefined, subject: m.subject, sequence: m.seq, final: true, retry: 0 });
      return;
    }
    for (let attempt = this.source.acks ? m.info.deliveryCount : 1; ; attempt++) {
      const failure = await this.attempt(m, event, attempt);
      if (!failure) {
        if (this.source.acks) m.ack();
        return;
      }
      if (this.source.acks) {
        if (failure.final) m.term(reason(failure.error));
        else m.nak(Math.max(1, failure.retry)); // the server forgets at its restart those without a delay
      }
      this.s.onError(failure);
      if (failure.final || this.source.acks || !(await pause(failure.retry, this.s.signal))) return;
    }
  }

  /** Returns what went wrong. */
  private async attempt(m: JsMsg, event: Event, attempt: number): Promise<Failure | undefined> {
    const beat = this.source.acks ? setInterval(() => m.working(), this.s.ackWait / 3) : undefined;
    let delivery: Delivery | undefined;
    try {
      const session = sessionOf(event);
      const { revision } = event.data;
      const last = (await this.s.revisions.get(session)) ?? 0;
      if (revision <= last) return undefined; // delivered again
      const missing = this.s.whole ? revision - last - 1 : undefined;
      delivery = { event, kind: kindOf(event), subject: m.subject, sequence: m.seq, stored: m.time, attempt, pending: m.info.pending, missing };
      let failure: Failure | undefined;
      try {
        await this.handle(delivery, this.handling);
      } catch (error) {
        failure = this.verdictOn(delivery, error);
      }
      if (!failure || failure.final) await this.s.revisions.set(session, revision);
      return failure;
    } catch (error) { // of the revisions
      return { error, delivery, subject: m.subject, sequence: m.seq, final: false, retry: bounded(this.s.backoff(attempt)) };
    } finally {
      clearInterval(beat);
    }
  }

  private verdictOn(delivery: Delivery, error: unknown): Failure {
    const { subject, sequence, attempt } = delivery;
    const of = { delivery, subject, sequence };
    const said = error instanceof Verdict ? error : undefined;
    const why = said ? said.reason : error;
    if (said?.retry === "never") return { ...of, error: why, final: true, retry: 0 };
    if (this.s.maxDeliver > 0 && attempt >= this.s.maxDeliver) {
      return { ...of, error: new Error(`gave up after ${attempt} attempts: ${reason(why)}`, { cause: why }), final: true, retry: 0 };
    }
    return { ...of, error: why, final: false, retry: bounded(typeof said?.retry === "number" ? said.retry : this.s.backoff(attempt)) };
  }
}

function bounded(retry: number): number {
  return Math.min(Math.max(0, retry), longest);
}

/** An error as it may stand in a line of the protocol. */
function reason(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return text.replace(/[\x00-\x1f]/g, " ").slice(0, 512);
}
