// What is known after events, and lines that are cut anywhere.
import { expect, it, vi } from "vitest";
import { Away, type Lane } from "../api/client";
import { lines } from "./lines";
import { isAllTold, keyOf, take, watchOf } from "./watch";

const lane = (name: string, version: string): Lane => ({ apiVersion: "laneway.io/v1alpha1", kind: "Lane", metadata: { name, resourceVersion: version }, spec: { group: "g", entry: {} } });

it("adds, replaces and removes by namespace and name", () => {
  let known = new Map<string, Lane>();
  const event = (type: "ADDED" | "MODIFIED" | "DELETED" | "SYNCED", object?: Lane) => (known = take(known, { type, resourceVersion: "1", ...(object ? { object } : {}) }));
  event("ADDED", lane("a", "1"));
  event("ADDED", lane("b", "2"));
  event("MODIFIED", lane("a", "3"));
  event("SYNCED");
  expect([...known.values()].map((it) => `${keyOf(it)}@${it.metadata.resourceVersion}`)).toEqual(["default/a@3", "default/b@2"]);
  event("DELETED", lane("a", "3"));
  expect([...known.keys()]).toEqual(["default/b"]);
});

it("puts lines together however they are cut", async () => {
  const bytes = new TextEncoder().encode('{"a":"灰度"}\n{"b":2}\n\n{"c":3}');
  for (let size = 1; size <= bytes.length; size += 1) {
    const body = new ReadableStream<Uint8Array>({
      start(controller) {
        for (let at = 0; at < bytes.length; at += size) controller.enqueue(bytes.slice(at, at + size));
        controller.close();
      },
    });
    const found: string[] = [];
    for await (const line of lines(body)) found.push(line);
    // A line that was not ended is no line: its end never came.
    expect(found).toEqual(['{"a":"灰度"}', '{"b":2}']);
  }
});

it("a stream lives by its empty lines, and ends where none come any more", async () => {
  vi.useFakeTimers();
  let say: (text: string) => void = () => undefined;
  let isCancelled = false;
  const body = new ReadableStream<Uint8Array>({
    start: (controller) => void (say = (text) => controller.enqueue(new TextEncoder().encode(text))),
    cancel: () => void (isCancelled = true),
  });
  const found: string[] = [];
  let end: unknown;
  const all = async () => {
    for await (const line of lines(body)) found.push(line);
  };
  void all().catch((error: unknown) => (end = error));
  for (let at = 0; at < 10; at += 1) {
    await vi.advanceTimersByTimeAsync(20_000);
    say("\n");
  }
  say('{"a":1}\n');
  await vi.advanceTimersByTimeAsync(59_000);
  expect([found, end]).toEqual([['{"a":1}'], undefined]);
  await vi.advanceTimersByTimeAsync(1000);
  expect(end).toBeInstanceOf(Away);
  expect(isCancelled).toBe(true);
  vi.useRealTimers();
});

it("is told everything when its first state is whole, and at once where it goes on", async () => {
  vi.stubGlobal("document", { hidden: false });
  vi.stubGlobal("sessionStorage", { getItem: () => null });
  let say: (text: string) => void = () => undefined;
  const asked: string[] = [];
  vi.stubGlobal("fetch", (path: string) => {
    asked.push(path);
    const body = new ReadableStream<Uint8Array>({ start: (controller) => void (say = (text) => controller.enqueue(new TextEncoder().encode(`${text}\n`))) });
    return Promise.resolve(new Response(body, { headers: { "content-type": "application/json" } }));
  });
  const watch = watchOf("lanes");
  const isTold = (told: boolean) => vi.waitFor(() => expect(isAllTold()).toBe(told));
  expect(isAllTold()).toBe(true);
  const leave = watch.subscribe(() => undefined);
  await vi.waitFor(() => expect(asked.length).toBe(1));
  say(JSON.stringify({ type: "ADDED", resourceVersion: "1", object: lane("a", "1") }));
  await new Promise((resolve) => setTimeout(resolve, 10));
  expect(isAllTold()).toBe(false);
  say(JSON.stringify({ type: "SYNCED", resourceVersion: "1" }));
  await isTold(true);
  await vi.waitFor(() => expect(watch.snapshot().objects.length).toBe(1));
  watch.stop();
  watch.wake();
  expect(isAllTold()).toBe(false);
  await isTold(true);
  expect(asked.at(-1)).toContain("resourceVersion=1");
  leave();
  watch.stop();
  vi.unstubAllGlobals();
});
