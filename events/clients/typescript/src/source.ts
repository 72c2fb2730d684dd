import {
  AckPolicy, type Consumer, type ConsumerConfig, type ConsumerMessages, DeliverPolicy, type JetStreamManager,
  jetstream, JetStreamApiCodes, JetStreamApiError, jetstreamManager, type JsMsg,
} from "@nats-io/jetstream";
import { type NatsConnection, nanos } from "@nats-io/nats-core";
import { DurableDiffersError, DurableGoneError, NoStreamError } from "./errors.js";
import type { From } from "./consume.js";
import { pause } from "./pause.js";

/** What consume's settings say about the stream's consumer. Times in milliseconds. */
export interface Place {
  stream: string;
  durable: string | undefined;
  filters: string[];
  from: From;
  refilter: boolean;
  ackWait: number;
  maxDeliver: number;
}

/**
 * How long a pull lasts. It bounds how long it takes to go on after an outage in
 * which the server answered, but not JetStream.
 */
const pull = { expires: 5_000 };

/** Opens the place in the stream. It yields messages until the signal aborts. */
export async function open(nc: NatsConnection, place: Place): Promise<Source> {
  const jsm = await jetstreamManager(nc, { checkAPI: false });
  try {
    if (place.durable !== undefined) return new Durable(nc, jsm, place, await ensure(jsm, place, place.durable));
    return new Reader(nc, jsm, place, await reader(nc, jsm, place));
  } catch (cause) {
    throw is(cause, JetStreamApiCodes.StreamNotFound) ? new NoStreamError(place.stream, { cause }) : cause;
  }
}

/** Messages one after another, until the signal aborts; then those in hand are given back. */
export interface Source {
  /** Whether the stream waits for each message to be settled. */
  readonly acks: boolean;
  messages(signal: AbortSignal): AsyncGenerator<JsMsg, void>;
}

abstract class Pulling implements Source {
  abstract readonly acks: boolean;
  constructor(readonly nc: NatsConnection, readonly jsm: JetStreamManager, readonly place: Place, protected consumer: Consumer | string) {}

  protected abstract pull(): Promise<ConsumerMessages>;
  /** Throws why the stream cannot be read any more; returns where it can. */
  protected abstract ask(cause: unknown): Promise<void>;

  async *messages(signal: AbortSignal): AsyncGenerator<JsMsg, void> {
    while (!signal.aborted) {
      let fault: unknown;
      try {
        yield* this.pulled(await this.pull(), signal);
      } catch (error) {
        fault = error;
      }
      if (signal.aborted) return;
      if (this.nc.isClosed()) throw new Error(`the connection was closed while stream ${this.place.stream} was read: connect again`, { cause: fault });
      await this.ask(fault);
      await pause(1_000, signal);
    }
  }

  private async *pulled(messages: ConsumerMessages, signal: AbortSignal): AsyncGenerator<JsMsg, void> {
    const stop = () => messages.stop();
    signal.addEventListener("abort", stop);
    if (signal.aborted) stop();
    try {
      for await (const m of messages) {
        if (!signal.aborted) yield m;
        else if (this.acks) m.nak(1); // else it comes after ackWait
      }
    } finally {
      signal.removeEventListener("abort", stop);
      stop();
    }
  }
}

class Durable extends Pulling {
  readonly acks = true;

  protected async pull(): Promise<ConsumerMessages> {
    const consumer = await jetstream(this.nc).consumers.get(this.place.stream, this.consumer as string);
    return consumer.consume({ ...pull, abort_on_missing_resource: true });
  }

  protected async ask(cause: unknown): Promise<void> {
    const { stream } = this.place;
    try {
      await this.jsm.consumers.info(stream, this.consumer as string);
    } catch (error) {
      if (is(error, JetStreamApiCodes.StreamNotFound)) throw new NoStreamError(stream, { cause });
      if (is(error, JetStreamApiCodes.ConsumerNotFound)) throw new DurableGoneError(this.consumer as string, stream, { cause });
      // The server is away or restarts.
    }
  }
}

/** A consumer without a name, which the client keeps in order and makes anew where it has to. */
class Reader extends Pulling {
  readonly acks = false;

  protected async pull(): Promise<ConsumerMessages> {
    const messages = await (this.consumer as Consumer).consume(pull);
    void this.watch(messages);
    return messages;
  }

  private async watch(messages: ConsumerMessages): Promise<void> {
    for await (const status of messages.status()) {
      if (status.type === "stream_not_found") messages.stop(new NoStreamError(this.place.stream));
    }
  }

  protected async ask(cause: unknown): Promise<void> {
    throw cause ?? new Error(`stream ${this.place.stream} sends no more`);
  }
}

const consumerExists = 10148;

function is(error: unknown, code: number): boolean {
  return error instanceof JetStreamApiError && error.code === code;
}

async function ensure(jsm: JetStreamManager, place: Place, durable: string): Promise<string> {
  const want = {
    durable_name: durable,
    description: "guest session events",
    ack_policy: AckPolicy.Explicit,
    ack_wait: nanos(place.ackWait),
    max_ack_pending: 1,
    max_deliver: place.maxDeliver || -1,
    filter_subjects: place.filters,
    ...start(place.from),
  };
  for (;;) {
    try {
      const { config } = await jsm.consumers.info(place.stream, durable);
      await adopt(jsm, place, durable, config);
      return durable;
    } catch (error) {
      if (!is(error, JetStreamApiCodes.ConsumerNotFound)) throw error;
    }
    try {
      await jsm.consumers.add(place.stream, want);
      return durable;
    } catch (error) {
      if (!is(error, consumerExists)) throw error; // another process was faster
    }
  }
}

/** Brings what is only tuning to the settings. Where the durable stands stays. */
async function adopt(jsm: JetStreamManager, place: Place, durable: string, have: ConsumerConfig): Promise<void> {
  if (have.deliver_subject) {
    throw new DurableDiffersError(durable, place.stream, "it pushes; delete it with `nats consumer rm`, or choose another name");
  }
  if (have.ack_policy !== AckPolicy.Explicit) {
    throw new DurableDiffersError(durable, place.stream, `its ack policy is ${have.ack_policy}; delete it with \`nats consumer rm\`, or choose another name`);
  }
  const now = (have.filter_subjects ?? (have.filter_subject ? [have.filter_subject] : [])).toSorted();
  const same = now.join(" ") === place.filters.toSorted().join(" ");
  if (!same && !place.refilter) {
    throw new DurableDiffersError(durable, place.stream, `it takes ${now.join(", ")}, not ${place.filters.join(", ")}; set refilter to change that, or choose another name`);
  }
  const tuned = { ack_wait: nanos(place.ackWait), max_ack_pending: 1, max_deliver: place.maxDeliver || -1 };
  if (same && have.ack_wait === tuned.ack_wait && have.max_ack_pending === 1 && have.max_deliver === tuned.max_deliver) return;
  const { filter_subject: _, ...rest } = have;
  await jsm.consumers.update(place.stream, durable, { ...rest, ...tuned, filter_subject: undefined, filter_subjects: place.filters } as never);
}

async function reader(nc: NatsConnection, jsm: JetStreamManager, place: Place): Promise<Consumer> {
  let from = start(place.from);
  if (place.from === "now") {
    // As a number, so that what is stored while no consumer exists is not passed over.
    const { state } = await jsm.streams.info(place.stream);
    from = start({ sequence: state.last_seq + 1 });
  }
  return jetstream(nc).consumers.get(place.stream, { filter_subjects: place.filters, ...from });
}

function start(from: From): Pick<ConsumerConfig, "deliver_policy"> & { opt_start_seq?: number; opt_start_time?: string } {
  if (from === "now") return { deliver_policy: DeliverPolicy.New };
  if (from === "start") return { deliver_policy: DeliverPolicy.All };
  if ("time" in from) return { deliver_policy: DeliverPolicy.StartTime, opt_start_time: from.time.toISOString() };
  return { deliver_policy: DeliverPolicy.StartSequence, opt_start_seq: Math.max(1, from.sequence) };
}
