// What counts as hearing from the control plane, whatever answers at its address.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Away, Refused, get, isUntold } from "../api/client";
import { connection, heard } from "./connection";
import { watchOf } from "./watch";

const problem = (status: number) => () => Response.json({ title: "no" }, { status });
const page = () => new Response("<!doctype html>", { headers: { "content-type": "text/html" } });

let answer: () => Response;

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("sessionStorage", { getItem: () => null });
  vi.stubGlobal("document", { hidden: false });
  vi.stubGlobal("fetch", () => Promise.resolve(answer()));
  heard();
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it.each([
  ["500", problem(500), true],
  ["503", problem(503), true],
  ["403, the door's", problem(403), true],
  ["421, the door's", problem(421), true],
  ["404, of whoever it is", problem(404), true],
  ["a page", page, true],
  ["410, begin anew", problem(410), false],
] as const)("figures that a watch answered by %s leaves as they are are not live", async (_, of, isAway) => {
  answer = of;
  const watch = watchOf("lanes");
  const end = watch.subscribe(() => undefined);
  await vi.advanceTimersByTimeAsync(10_000);
  expect(connection().away).toBe(isAway);
  end();
  watch.stop();
});

it("a question that was not answered by the API tells nothing", async () => {
  answer = page;
  await expect(get("/status")).rejects.toBeInstanceOf(Away);
  answer = () => Response.json({ version: "1" });
  await expect(get("/status")).resolves.toEqual({ version: "1" });
  expect([401, 403, 404, 410, 421, 502].filter((status) => isUntold(new Refused(status, "", "", [])))).toEqual([403, 404, 421, 502]);
  expect(isUntold(new Away("no answer"))).toBe(true);
});
