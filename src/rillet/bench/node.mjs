// The rounds in Node. One argument: a file that says what to run; the answer into the file that it names. Times are the
// processor's, of this process, which others do not lengthen.
import fs from "node:fs";
import { pathToFileURL } from "node:url";
import { measured } from "./rounds.mjs";

const job = JSON.parse(fs.readFileSync(process.argv[2], "utf8"));
const runners = await measured(job, {
  address: (file) => pathToFileURL(file).href,
  bytes: (file) => fs.readFileSync(file),
  clock: () => {
    const { user, system } = process.cpuUsage();
    return (user + system) / 1e3;
  },
});
fs.writeFileSync(job.answer, JSON.stringify({ engine: `V8 ${process.versions.v8} in Node`, runners }));
process.exit(0);
