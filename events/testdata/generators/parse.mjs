// Checks an AsyncAPI document with the project's own parser: prints what it
// found behind the references, or fails with what is wrong.
// Usage: node parse.mjs asyncapi.yaml
import { Parser, fromFile } from "@asyncapi/parser";

const { document, diagnostics: all } = await fromFile(new Parser(), process.argv[2]).parse();
const diagnostics = all.filter((d) => d.severity <= 1); // errors and warnings; that there is a newer version is a hint
for (const d of diagnostics) console.error(`${d.path.join(".")}: ${d.message}`);
if (!document || diagnostics.length > 0) process.exit(1);
const payloads = document.messages().all().map((m) => m.payload().json().properties.type.const);
console.log(JSON.stringify({ version: document.version(), channels: document.channels().length, payloads }));
