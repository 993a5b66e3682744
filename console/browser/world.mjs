// What the browser tests need: the real binary with the real demo, a control plane of their own to kill, and Chromium.
import { spawn } from "node:child_process";
import { once } from "node:events";
import { existsSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { createServer } from "node:http";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { AxeBuilder } from "@axe-core/playwright";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("../..", import.meta.url));
const binary = process.env.LANEWAY_BINARY ?? join(root, "target/debug/laneway");
const browserPath = process.env.LANEWAY_CHROMIUM ?? "/usr/bin/chromium";
const START_MS = 90_000;

export const DEMO = "http://127.0.0.1:7600";
export const GATEWAY = "http://127.0.0.1:8000";

async function until(what, condition, forMs = 10_000) {
  const end = Date.now() + forMs;
  let last;
  while (Date.now() < end) {
    try {
      if ((last = await condition())) return last;
    } catch (error) {
      last = error;
    }
    await new Promise((resolve) => setTimeout(resolve, 50));
  }
  throw new Error(`${what}: not within ${forMs} ms; last: ${last}`);
}
export { until };

/** A process of the binary, ended with the test. */
export class Laneway {
  constructor(data, args, ready) {
    Object.assign(this, { data, args, ready, output: "" });
  }

  async start() {
    this.child = spawn(binary, this.args, { stdio: ["ignore", "pipe", "pipe"] });
    for (const stream of [this.child.stdout, this.child.stderr]) stream.on("data", (text) => (this.output += text));
    const ended = once(this.child, "exit").then(([code]) => {
      throw new Error(`laneway ${this.args[0]} ended with ${code}: ${this.output}`);
    });
    ended.catch(() => undefined);
    await Promise.race([until(`laneway ${this.args[0]}`, async () => (await fetch(this.ready)).ok && this.isUp(), START_MS), ended]);
    return this;
  }

  isUp() {
    return this.args[0] !== "demo" || this.output.includes("TRY");
  }

  async stop(signal = "SIGTERM") {
    if (!this.child || this.child.exitCode !== null || this.child.signalCode !== null) return;
    const ended = once(this.child, "exit");
    this.child.kill(signal);
    await ended;
  }
}

function scratch() {
  return mkdtempSync(join(tmpdir(), "laneway-console-"));
}

export async function demo() {
  const data = scratch();
  const process_ = await new Laneway(data, ["demo", "--data", data], `${DEMO}/readyz`).start();
  process_.token = readFileSync(tokenFile(data), "utf8").trim();
  return process_;
}

function tokenFile(data) {
  const found = [join(data, "serve/api-token"), join(data, "control-plane/api-token"), join(data, "api-token")].find(existsSync);
  if (!found) throw new Error(`no api-token under ${data}`);
  return found;
}

/** A control plane alone, on ports of its own, to be killed and started again. */
export async function serve() {
  const data = scratch();
  const at = (port) => `127.0.0.1:${port}`;
  const args = ["serve", "--data", data, "--api-listen", at(17_600), "--discovery-listen", at(17_601), "--gateway-listen", at(18_000)];
  const process_ = await new Laneway(data, args, "http://127.0.0.1:17600/readyz").start();
  process_.url = "http://127.0.0.1:17600";
  return process_;
}

/** A second instance of gray C beside a sidecar of its own, in the demo: of its answers every third is a 500. */
export async function faulty() {
  const at = (port) => `127.0.0.24:${port}`;
  let answered = 0;
  const application = createServer((_, response) => {
    answered += 1;
    // By this name the sample's callers know an application's answer from a proxy's, and pass its status up.
    response.writeHead(answered % 3 === 0 ? 500 : 200, { server: "sample-application" }).end("Cgray[faulty]");
  });
  application.listen(18_080, "127.0.0.24");
  await once(application, "listening");
  const data = scratch();
  const args = ["sidecar", "--application", "spring-cloud-c", "--service", "sc-C", "--tag", "gray", "--control", "127.0.0.1:7601", "--data", data, "--drain-seconds", "1"];
  const listens = { "--app-address": 18_080, "--advertise": 15_006, "--inbound-listen": 15_006, "--outbound-listen": 15_001, "--admin-listen": 15_020 };
  for (const [flag, port] of Object.entries(listens)) args.push(flag, at(port));
  const sidecar = new Laneway(data, args, `http://${at(15_020)}/readyz`);
  const stop = async () => {
    await clean(sidecar);
    application.closeAllConnections();
    application.close();
  };
  await sidecar.start().catch(async (error) => {
    await stop();
    throw error;
  });
  return stop;
}

export async function clean(...processes) {
  for (const it of processes) {
    await it?.stop();
    if (it) rmSync(it.data, { recursive: true, force: true });
  }
}

export function launch() {
  return chromium.launch({ executablePath: browserPath, args: ["--no-sandbox"] });
}

/** A page that notes what must never happen: an error in the console, a thing the policy does not let in. */
export async function open(browser, { url = DEMO, width = 1280, height = 900, theme = "light", language = "en", headers } = {}) {
  const context = await browser.newContext({
    baseURL: url,
    viewport: { width, height },
    colorScheme: theme,
    locale: language === "zh" ? "zh-CN" : "en-US",
    reducedMotion: "reduce",
    permissions: ["clipboard-read", "clipboard-write"],
    ...(headers ? { extraHTTPHeaders: headers } : {}),
  });
  await context.addInitScript(() => {
    window.violations = [];
    document.addEventListener("securitypolicyviolation", (event) => window.violations.push(`${event.violatedDirective} ${event.blockedURI} ${event.sample}`));
  });
  const page = await context.newPage();
  page.wrong = [];
  page.on("pageerror", (error) => page.wrong.push(String(error)));
  page.on("console", (message) => {
    // That nobody answers, or that an answer was a refusal, is told by the page itself.
    if (message.type() === "error" && !message.text().startsWith("Failed to load resource")) page.wrong.push(message.text());
  });
  page.setDefaultTimeout(20_000);
  return page;
}

/** Nothing was refused by the policy, nothing threw. */
export async function healthy(page) {
  const violations = await page.evaluate(() => window.violations);
  const wrong = [...page.wrong, ...violations];
  if (wrong.length > 0) throw new Error(`${page.url()}: ${wrong.join("\n")}`);
}

export async function accessible(page, what) {
  const { violations } = await new AxeBuilder({ page }).withTags(["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa", "best-practice"]).analyze();
  if (violations.length > 0) {
    const text = violations.map((it) => `${it.id}: ${it.help}\n${it.nodes.slice(0, 4).map((node) => `    ${node.html.slice(0, 200)}\n      ${node.failureSummary?.split("\n").slice(1, 3).join("; ")}`).join("\n")}`);
    throw new Error(`${what}:\n${text.join("\n")}`);
  }
}

export async function api(method, path, body, url = DEMO) {
  const init = { method, headers: body ? { "content-type": method === "PATCH" ? "application/merge-patch+json" : "application/json" } : {} };
  const answer = await fetch(`${url}/api/v1alpha1${path}`, { ...init, ...(body ? { body: JSON.stringify(body) } : {}) });
  if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${await answer.text()}`);
  return answer.status === 204 ? undefined : answer.json();
}

/** Removes every lane and group. */
export async function empty(url = DEMO) {
  const objects = [];
  for (const [plural, kind] of [["lanes", "Lane"], ["lanegroups", "LaneGroup"]]) {
    for (const it of (await api("GET", `/${plural}`, undefined, url)).items) objects.push({ kind, namespace: it.metadata.namespace ?? "default", name: it.metadata.name });
  }
  await api("POST", "/delete", { objects }, url);
}

/** The sample's groups and lanes, as they were to begin with. */
export const SAMPLE = [
  { apiVersion: "laneway.io/v1alpha1", kind: "LaneGroup", metadata: { name: "trade" }, spec: { entrances: [{ gateway: "edge" }], applications: ["spring-cloud-a", "spring-cloud-b", "spring-cloud-c"] } },
  { apiVersion: "laneway.io/v1alpha1", kind: "Lane", metadata: { name: "trade-gray" }, spec: { group: "trade", tag: "gray", entry: { content: { meet: "all", conditions: [{ header: "canary", operator: "==", value: "gray" }] } } } },
  { apiVersion: "laneway.io/v1alpha1", kind: "LaneGroup", metadata: { name: "rollout" }, spec: { entrances: [{ gateway: "edge", routes: ["ratio"] }], applications: ["spring-cloud-a", "spring-cloud-b", "spring-cloud-c"] } },
  { apiVersion: "laneway.io/v1alpha1", kind: "Lane", metadata: { name: "rollout-gray" }, spec: { group: "rollout", tag: "gray", entry: { ratio: { percent: 30, stickyBy: { header: "x-user" } } } } },
];

export async function sample(url = DEMO) {
  await empty(url);
  await api("POST", "/apply", { objects: SAMPLE }, url);
}

/** The tags of the instances that served a request's chain. */
export async function chain(headers = {}) {
  return (await fetch(`${GATEWAY}/a`, { headers })).text();
}
