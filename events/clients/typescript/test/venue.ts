import { randomUUID } from "node:crypto";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { TestContext } from "node:test";
import { jetstream, jetstreamManager } from "@nats-io/jetstream";
import type { NatsConnection } from "@nats-io/nats-core";
import { connect } from "@nats-io/transport-node";
import { consume, type Delivery, type Event, type Failure, type Kind, type Settings } from "@guestflow/events";

const servers = process.env["NATS_URL"];
const golden = process.env["GUESTFLOW_EVENTS"];
if (!servers || !golden) throw new Error("set NATS_URL to a NATS server with JetStream and GUESTFLOW_EVENTS to the folder of guestflow's example events");

/** The example of a kind, of another session and revision. */
export function example(kind: Kind, id: string, revision: number, location = "lobby"): Event {
  const event = JSON.parse(readFileSync(join(golden!, `${kind}.json`), "utf8")) as Event;
  event.subject = event.data.session.id = id;
  event.data.session.location_id = location;
  event.data.revision = revision;
  return event;
}

/** A stream of its own for a test, on a connection of its own. */
export class Venue {
  readonly stream = `T${randomUUID()}`;
  readonly prefix = `${this.stream}.sessions`;

  private constructor(readonly nc: NatsConnection) {}

  static async open(t: TestContext): Promise<Venue> {
    const venue = new Venue(await connect({ servers: servers! }));
    const jsm = await jetstreamManager(venue.nc);
    await jsm.streams.add({ name: venue.stream, subjects: [`${venue.prefix}.>`] });
    t.after(async () => {
      if (!venue.nc.isClosed()) await venue.nc.close();
    });
    return venue;
  }

  manager() {
    return jetstreamManager(this.nc);
  }

  async publish(...events: Event[]): Promise<void> {
    for (const event of events) {
      const kind = event.type.split(".")[2];
      const location = event.data.session.location_id.replace(".", "%2E");
      await jetstream(this.nc).publish(`${this.prefix}.default.${location}.${kind}`, JSON.stringify(event));
    }
  }

  /** Consumes in the background; resolves when the consumer is ready. */
  async start(settings: Settings, handle: (d: Delivery, signal: AbortSignal) => unknown = () => {}): Promise<Running> {
    const running = new Running();
    await new Promise<void>((resolve, reject) => {
      running.result = consume(this.nc, {
        stream: this.stream, prefix: this.prefix, signal: running.stop.signal, backoff: () => 1,
        onReady: resolve, onError: (f) => running.failures.push(f), ...settings,
      }, async (d, signal) => {
        running.told(d);
        await handle(d, signal);
      });
      running.result.catch(reject);
    });
    return running;
  }
}

/** A call of consume. */
export class Running {
  readonly stop = new AbortController();
  readonly failures: Failure[] = [];
  readonly delivered: Delivery[] = [];
  result: Promise<void> = Promise.resolve();
  #waiting: (() => void)[] = [];

  told(d: Delivery): void {
    this.delivered.push(d);
    for (const go of this.#waiting.splice(0)) go();
  }

  /** Waits until the handler was called n times. */
  async calls(n: number): Promise<Delivery[]> {
    while (this.delivered.length < n) {
      await Promise.race([new Promise<void>((go) => this.#waiting.push(go)), this.result]);
    }
    return this.delivered;
  }

  async end(): Promise<void> {
    this.stop.abort();
    await this.result;
  }

  /** What the handler was called with: session, revision and attempt. */
  said(): string[] {
    return this.delivered.map((d) => `${d.event.subject} ${d.event.data.revision} ${d.attempt}`);
  }
}
