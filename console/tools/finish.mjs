// After a build: writes each file's gzip beside it, and what it was built of; fails when the first load weighs more than it may.
import { Buffer } from "node:buffer";
import { readFileSync, readdirSync, statSync, writeFileSync } from "node:fs";
import { gzipSync } from "node:zlib";

const FIRST_LOAD_MAX = 350 * 1024;
const site = new URL("../dist/site/", import.meta.url);

const weights = new Map();
for (const name of readdirSync(site, { recursive: true, encoding: "utf8" })) {
  if (!/\.(js|css|html|svg)$/.test(name)) continue;
  const file = new URL(name, site);
  const packed = gzipSync(readFileSync(file), { level: 9 });
  writeFileSync(new URL(`${name}.gz`, site), packed);
  weights.set(`/${name}`, packed.length);
}

// Whoever takes it into a binary compares: crates/laneway/build.rs counts alike (FNV-1a of 64 bits).
const home = new URL("../", import.meta.url);
const under = (folder) => readdirSync(new URL(folder, home), { recursive: true, encoding: "utf8" }).map((name) => folder + name);
const sources = ["index.html", "package-lock.json", "vite.config.ts", ...under("public/"), ...under("src/")]
  .filter((name) => statSync(new URL(name, home)).isFile() && !name.endsWith(".test.ts") && name !== "src/api/schema.d.ts")
  .sort();
let digest = 0xcbf29ce484222325n;
const take = (bytes) => {
  for (const byte of bytes) digest = BigInt.asUintN(64, (digest ^ BigInt(byte)) * 0x100000001b3n);
};
for (const name of sources) {
  take(Buffer.from(`${name}\0`));
  take(readFileSync(new URL(name, home)));
  take([0]);
}
writeFileSync(new URL("dist/built-of", home), digest.toString(16).padStart(16, "0"));

const page = readFileSync(new URL("index.html", site), "utf8");
if (/<(script|style)(?![^>]*\bsrc=)[^>]*>/.test(page) || / style="/.test(page)) throw new Error("index.html: no inline script or style");

// What the page names, and what that imports before it runs.
const first = new Set(["/index.html"]);
const look = (name) => {
  if (first.has(name) || !weights.has(name)) return;
  first.add(name);
  if (!name.endsWith(".js")) return;
  const source = readFileSync(new URL(`.${name}`, site), "utf8");
  for (const [, imported] of source.matchAll(/(?:from|import)\s*"\.\/([^"]+)"/g)) look(`/assets/${imported}`);
};
for (const [, name] of page.matchAll(/(?:src|href)="([^"]+)"/g)) look(name);

const total = [...first].reduce((sum, name) => sum + weights.get(name), 0);
console.log(`first load: ${(total / 1024).toFixed(1)} KiB gzip in ${first.size} files, at most ${FIRST_LOAD_MAX / 1024}`);
if (total > FIRST_LOAD_MAX) process.exit(1);
