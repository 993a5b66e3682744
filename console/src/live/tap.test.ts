import { afterEach, beforeEach, expect, it, vi } from "vitest";
import type { TapEvent, TappedRequest } from "../api/client";
import { KEPT_MAX, Tap, question, withEvents } from "./tap";

const request = (id: string): TapEvent => ({ type: "REQUEST", request: { id, hops: [] } as unknown as TappedRequest });
const status = (share: number): TapEvent => ({ type: "STATUS", status: { share, dataPlanes: 7, silentDataPlanes: 0, dropped: 0, missed: 0, excess: 0, excessOf: "" } });
const ids = (tap: { snapshot: () => { requests: readonly { request: TappedRequest }[] } }) => tap.snapshot().requests.map((it) => it.request.id);

let tell: ReadableStreamDefaultController<Uint8Array>;
let asked: { path: string; signal: AbortSignal | null | undefined }[];
let hide: () => void;

beforeEach(() => {
  vi.useFakeTimers();
  asked = [];
  const page = { hidden: false, addEventListener: (_: string, on: () => void) => (hide = () => ((page.hidden = true), on())), removeEventListener: () => undefined };
  vi.stubGlobal("sessionStorage", { getItem: () => null });
  vi.stubGlobal("document", page);
  vi.stubGlobal("fetch", (path: string, init: RequestInit) => {
    asked.push({ path, signal: init.signal });
    const body = new ReadableStream<Uint8Array>({ start: (controller) => (tell = controller) });
    return Promise.resolve(new Response(body, { headers: { "content-type": "application/x-ndjson" } }));
  });
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

const say = (...events: TapEvent[]) => tell.enqueue(new TextEncoder().encode(events.map((it) => `${JSON.stringify(it)}\n`).join("")));

it("what is asked for is in the question", () => {
  expect(question({ group: "trade", lane: "gray" })).toBe("/tap?group=trade&lane=gray");
  expect(question({ group: "trade", lane: "base", application: "app c", rate: "5" })).toBe("/tap?group=trade&lane=base&application=app+c&rate=5");
});

it("the latest requests are kept, and no more than anybody reads", () => {
  const first = withEvents({ run: 1, state: "starting", requests: [], count: 0 }, [status(1), request("a"), request("b"), status(0.5)]);
  expect([first.state, first.status?.share, first.count]).toEqual(["on", 0.5, 2]);
  const then = withEvents(first, Array.from({ length: KEPT_MAX }, (_, at) => request(`${at}`)));
  expect([then.requests.length, then.count, then.requests[0]?.number, then.requests.at(-1)?.request.id]).toEqual([KEPT_MAX, KEPT_MAX + 2, KEPT_MAX + 2, "0"]);
  expect(then.status?.share).toBe(0.5);
});

it("what comes together is painted once", async () => {
  const tap = new Tap();
  let painted = 0;
  const end = tap.subscribe(() => painted++);
  tap.start({ group: "trade", lane: "gray" });
  expect(tap.snapshot().state).toBe("starting");
  await vi.advanceTimersByTimeAsync(0);
  say(status(1), request("a"));
  await vi.advanceTimersByTimeAsync(100);
  say(request("b"));
  await vi.advanceTimersByTimeAsync(1000);
  expect([painted, tap.snapshot().state, ids(tap)]).toEqual([2, "on", ["b", "a"]]);
  end();
});

it("why the control plane has ended it is said", async () => {
  const tap = new Tap();
  const end = tap.subscribe(() => undefined);
  tap.start({ group: "trade", lane: "gray" });
  await vi.advanceTimersByTimeAsync(0);
  say(status(1), request("a"), { type: "ENDED", ended: "lane trade/gray is gone, or another one by now" });
  tell.close();
  await vi.advanceTimersByTimeAsync(1000);
  expect([tap.snapshot().state, tap.snapshot().why, ids(tap)]).toEqual(["off", "lane trade/gray is gone, or another one by now", ["a"]]);
  end();
});

it("it ends with the page, and with the tab out of sight", async () => {
  const tap = new Tap();
  const end = tap.subscribe(() => undefined);
  tap.start({ group: "trade", lane: "gray" });
  await vi.advanceTimersByTimeAsync(0);
  hide();
  expect([asked[0]?.signal?.aborted, tap.snapshot().state, tap.snapshot().why]).toEqual([true, "off", "It ended when this tab was left."]);
  tap.start({ group: "trade", lane: "gray" });
  await vi.advanceTimersByTimeAsync(0);
  end();
  expect(asked.map((it) => it.signal?.aborted)).toEqual([true, true]);
});

it("why it is over is told, and what was seen stays", async () => {
  const tap = new Tap();
  const end = tap.subscribe(() => undefined);
  tap.start({ group: "trade", lane: "gray" });
  await vi.advanceTimersByTimeAsync(0);
  say(request("a"));
  tell.close();
  await vi.advanceTimersByTimeAsync(0);
  expect([tap.snapshot().why, ids(tap)]).toEqual(["The control plane has ended it.", ["a"]]);
  vi.stubGlobal("fetch", () => Promise.resolve(Response.json({ title: "too many taps", detail: "16 watch already" }, { status: 429 })));
  tap.start({ group: "trade", lane: "gray" });
  await vi.advanceTimersByTimeAsync(0);
  expect([tap.snapshot().state, tap.snapshot().why]).toEqual(["off", expect.stringContaining("16 watch already")]);
  end();
});
