// Reads events, one a line, with the types of quicktype, and writes each back as
// JSON. What json-schema-to-typescript makes is used as a program would.
import { createInterface } from "node:readline";
import { Convert } from "./quicktype.js";
import type { Event } from "./types.js";

for await (const line of createInterface({ input: process.stdin, crlfDelay: Infinity })) {
  console.log(Convert.eventToJson(Convert.toEvent(line)));
}

export function howItEnded(event: Event): "reported" | "inferred" | "presumed" | undefined {
  if (event.type === "guestflow.session.started.v1") {
    // @ts-expect-error an arrival has no old values
    event.data.previous;
    return undefined;
  }
  return event.type === "guestflow.session.ended.v1" ? event.data.observed.end : undefined;
}

// @ts-expect-error there is no such kind
export const unknown: Event["type"] = "guestflow.session.left.v1";
