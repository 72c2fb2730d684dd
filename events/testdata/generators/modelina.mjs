// Makes types of an AsyncAPI document with AsyncAPI's own generator, a file for
// each. Usage: node modelina.mjs asyncapi.yaml LANGUAGE FOLDER [LANGUAGE FOLDER ...]
import { resolve } from "node:path";
import { pathToFileURL } from "node:url";
import {
  CSharpFileGenerator, JAVA_JACKSON_PRESET, JavaFileGenerator, PythonFileGenerator, TypeScriptFileGenerator,
} from "@asyncapi/modelina";

const [document, ...wanted] = process.argv.slice(2);
const generators = {
  csharp: () => [new CSharpFileGenerator(), { namespace: "Guestflow" }],
  java: () => [new JavaFileGenerator({ presets: [JAVA_JACKSON_PRESET] }), { packageName: "guestflow" }],
  python: () => [new PythonFileGenerator(), { packageName: "guestflow" }],
  typescript: () => [
    new TypeScriptFileGenerator({ modelType: "interface", enumType: "union", rawPropertyNames: true }),
    { exportType: "named" },
  ],
};
for (let i = 0; i < wanted.length; i += 2) {
  const [generator, options] = generators[wanted[i]]();
  await generator.generateToFiles(pathToFileURL(resolve(document)).href, wanted[i + 1], options, true);
}
