// The rounds in Node. One argument: a file that says what to run; the answer into the file that it names. Times are the
// processor's, of this process, which others do not lengthen.
import fs from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { pathToFileURL } from "node:url";
import vm from "node:vm";
import { measured } from "./rounds.mjs";

const job = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const runners = await measured(job, {
  address: (file) => pathToFileURL(file).href,
  bytes: (file) => fs.readFileSync(file),
  folder: (file) => `${path.dirname(file)}/`,
  // What scripts of pages and of CommonJS have, for a runtime that loads itself by one; not before the others run.
  likeAPage: (file) => {
    const here = { __filename: file, __dirname: path.dirname(file), require: createRequire(import.meta.url) };
    const importScripts = (script) => vm.runInThisContext(fs.readFileSync(script, "utf8"), { filename: script });
    Object.assign(globalThis, { self: globalThis, importScripts, ...here });
  },
  clock: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e3;
  },
});
fs.writeFileSync(job.answer, JSON.stringify({ engine: `V8 ${process.versions.v8} in Node`, runners }));
process.exit(0);
