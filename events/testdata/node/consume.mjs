// Reads COUNT events from the stream with npm's own NATS packages and validates
// each against the JSON Schemas; prints a summary, or fails with what is wrong.
// Usage: node consume.mjs NATS_URL SCHEMA_DIR COUNT
import { readFileSync, readdirSync } from "node:fs";
import { join } from "node:path";
import { AckPolicy, DeliverPolicy, jetstream, jetstreamManager } from "@nats-io/jetstream";
import { connect } from "@nats-io/transport-node";
import { Ajv2020 } from "ajv/dist/2020.js";
import addFormats from "ajv-formats";

const [url, schemas, count] = process.argv.slice(2);

const ajv = new Ajv2020({ allErrors: true });
addFormats.default(ajv);
for (const file of readdirSync(schemas).filter((f) => f.endsWith(".json"))) {
  ajv.addSchema(JSON.parse(readFileSync(join(schemas, file), "utf8")));
}

function check(id, value, what) {
  const validate = ajv.getSchema(id);
  if (!validate) throw new Error(`${what}: no schema ${id}`);
  if (!validate(value)) throw new Error(`${what}: ${ajv.errorsText(validate.errors)}\n${JSON.stringify(value)}`);
}

const nc = await connect({ servers: url });
const jsm = await jetstreamManager(nc);
await jsm.consumers.add("GUEST_SESSIONS", {
  durable_name: "node",
  ack_policy: AckPolicy.Explicit,
  deliver_policy: DeliverPolicy.All,
});
const consumer = await jetstream(nc).consumers.get("GUEST_SESSIONS", "node");

const revisions = new Map();
const kinds = {};
let read = 0;
for await (const m of await consumer.consume()) {
  const event = m.json();
  const what = `sequence ${m.seq}`;
  const kind = m.subject.split(".").at(-1);
  check(`urn:guestflow:event:${kind}:v1`, event, what);
  check(event.dataschema, event.data, what);
  if (m.headers?.get("Nats-Msg-Id") !== event.id) throw new Error(`${what}: Nats-Msg-Id is not the event's id`);
  const session = `${event.source} ${event.subject}`;
  const before = revisions.get(session) ?? 0;
  if (event.data.revision !== before + 1) throw new Error(`${what}: revision ${event.data.revision} after ${before}`);
  revisions.set(session, event.data.revision);
  kinds[kind] = (kinds[kind] ?? 0) + 1;
  m.ack();
  if (++read === Number(count)) break;
}
await nc.drain();
console.log(JSON.stringify({ read, sessions: revisions.size, kinds }));
