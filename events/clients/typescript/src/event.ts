import { NotEventError } from "./errors.js";
import type { DiscoveredEvent, EndedEvent, Event, ResumedEvent, StartedEvent, TrafficEvent, UpdatedEvent } from "./types.js";

interface ByKind {
  discovered: DiscoveredEvent;
  started: StartedEvent;
  traffic: TrafficEvent;
  updated: UpdatedEvent;
  ended: EndedEvent;
  resumed: ResumedEvent;
}

/** What happened to a session. */
export type Kind = keyof ByKind;

/** The events of some kinds. */
export type EventOf<K extends Kind> = ByKind[K];

/** All kinds, in the order in which a session has them. */
export const kinds: readonly Kind[] = ["discovered", "started", "traffic", "updated", "ended", "resumed"];

/** The kind of an event, which is the middle of its type. */
export function kindOf<K extends Kind>(event: EventOf<K>): K {
  return event.type.slice("guestflow.session.".length, -".v1".length) as K;
}

/**
 * Reads the body of a message. Throws NotEventError where it is no event of this
 * version: what it is and whose, and which revision, is looked at; the rest is
 * believed, since guestflow writes nothing else.
 */
export function decode(body: Uint8Array): Event {
  let event: Event;
  try {
    event = JSON.parse(new TextDecoder("utf-8", { fatal: true }).decode(body));
  } catch (cause) {
    throw new NotEventError(`the body is not JSON: ${(cause as Error).message}`, { cause });
  }
  const fault = faultOf(event);
  if (fault) throw new NotEventError(fault);
  return event;
}

function faultOf(event: Partial<Event> | null): string | undefined {
  if (typeof event !== "object" || event === null) return "the body is not a JSON object";
  if (event.specversion !== "1.0") return "specversion is not 1.0";
  if (typeof event.source !== "string" || !/^guestflow\/./.test(event.source)) return "source does not begin with guestflow/";
  if (!kinds.some((kind) => event.type === `guestflow.session.${kind}.v1`)) return `type ${JSON.stringify(event.type)} is unknown`;
  const session = event.data?.session?.id;
  if (typeof session !== "string" || session === "") return "data.session.id is missing";
  if (event.subject !== session) return "subject is not data.session.id";
  const revision = event.data?.revision;
  if (!Number.isSafeInteger(revision) || revision! < 1) return "data.revision is not 1 or more";
  return undefined;
}
