// Checks the documents that a guestflow serves: OpenAPI against the
// specification's schema, AsyncAPI with its own parser, which fetches the schemas
// behind it from the same server. Prints what it found, or fails with what is wrong.
// Usage: node check.mjs http://127.0.0.1:8080/
import { Parser, fromURL } from "@asyncapi/parser";
import { Validator } from "@seriousme/openapi-schema-validator";

const base = process.argv[2];
const openapi = new Validator();
const { valid, errors } = await openapi.validate(await (await fetch(new URL("openapi.json", base))).json());
if (!valid) throw new Error(`openapi.json: ${JSON.stringify(errors)}`);

const { document, diagnostics: all } = await fromURL(new Parser(), new URL("v1/asyncapi.yaml", base).href).parse();
const diagnostics = all.filter((d) => d.severity <= 1); // errors and warnings; that there is a newer version is a hint
for (const d of diagnostics) console.error(`${d.path.join(".")}: ${d.message}`);
if (!document || diagnostics.length > 0) process.exit(1);
const messages = document.messages().all();
console.log(JSON.stringify({
  openapi: openapi.version,
  addresses: document.channels().all().map((c) => c.address()),
  payloads: messages.map((m) => m.payload().json().properties.type.const),
}));
