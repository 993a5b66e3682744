// Who serves a hop, in which order lanes stand, how a rule reads.
import { describe, expect, it } from "vitest";
import type { Lane, LaneGroup } from "../api/client";
import { conditionText, entryText, entryTold, hop, inOrder, marks, tagOf, trouble } from "./lanes";

const group: LaneGroup = { apiVersion: "laneway.io/v1alpha1", kind: "LaneGroup", metadata: { name: "trade" }, spec: { applications: ["a", "b"] } };

function lane(tag: string, more: Partial<Lane["spec"]> & { created?: string; matched?: Record<string, [number, number]> } = {}): Lane {
  const { created = "2026-01-01T00:00:00Z", matched = {}, ...spec } = more;
  return {
    apiVersion: "laneway.io/v1alpha1",
    kind: "Lane",
    metadata: { name: `trade-${tag}`, creationTimestamp: created },
    spec: { group: "trade", tag, entry: { content: { conditions: [] } }, ...spec },
    status: { matched: Object.entries(matched).map(([application, [base, tagged]]) => ({ application, base, tagged })) },
  };
}

describe("order", () => {
  it("is by priority, then by creation; colours follow creation alone", () => {
    const lanes = [lane("late", { created: "2026-01-03T00:00:00Z" }), lane("first", { created: "2026-01-02T00:00:00Z", priority: 5 }), lane("early", { created: "2026-01-01T00:00:00Z" })];
    expect(inOrder(lanes, group).map(tagOf)).toEqual(["early", "late", "first"]);
    expect([...marks(lanes)]).toEqual([["early", 1], ["first", 2], ["late", 3]]);
  });

  it("leaves lanes of other groups and namespaces out", () => {
    const other = { ...lane("x"), spec: { ...lane("x").spec, group: "search" } };
    const elsewhere = { ...lane("y"), metadata: { name: "y", namespace: "elsewhere" } };
    expect(inOrder([other, elsewhere, lane("z")], group).map(tagOf)).toEqual(["z"]);
  });
});

describe("a hop", () => {
  const gray = lane("gray", { matched: { a: [2, 1], b: [2, 0] } });
  it("is served by the lane's own instances", () => {
    expect(hop(gray, [gray], "a", 2)).toEqual({ by: "own", instances: 1 });
  });
  it("falls back to base", () => {
    expect(hop(gray, [gray], "b", 2)).toEqual({ by: "other", tag: null, instances: 2, why: "none" });
  });
  it("falls back to the first lane of its list that has the application", () => {
    const [off, blue] = [lane("off", { enabled: false, matched: { b: [2, 3] } }), lane("blue", { matched: { b: [2, 3] } })];
    const switched = lane("switched", { matched: { b: [2, 3] }, applications: [{ name: "b", enabled: false }] });
    const dev = lane("dev", { fallback: ["off", "switched", "blue"], matched: { b: [2, 0] } });
    expect(hop(dev, [dev, off, switched, blue], "b", 2)).toEqual({ by: "other", tag: "blue", instances: 3, why: "none" });
  });
  it("is answered 503 where the lane is strict, or base has nobody", () => {
    const strict = lane("strict", { fallback: "none", matched: { b: [2, 0] } });
    expect(hop(strict, [strict], "b", 2)).toEqual({ by: "nobody", why: "strict" });
    expect(hop(gray, [gray], "b", 0)).toEqual({ by: "nobody", why: "none" });
  });
  it("uses the fallback where the application is switched off", () => {
    const switched = lane("gray", { matched: { a: [2, 1] }, applications: [{ name: "a", enabled: false }] });
    expect(hop(switched, [switched], "a", 2)).toEqual({ by: "other", tag: null, instances: 2, why: "off" });
  });
});

describe("words", () => {
  it.each([
    [{ header: "canary", operator: "==", value: "gray" }, "header canary == gray"],
    [{ query: "user", operator: "in", values: ["7", "8"] }, "query user in [7, 8]"],
    [{ cookie: "uid", operator: "percentage", value: 20 }, "cookie uid percentage 20 %"],
    [{ attribute: "path", operator: "prefix", value: "/beta" }, "path prefix /beta"],
    [{ header: "x", operator: "exists" }, "header x exists"],
  ] as const)("%j reads %s", (condition, text) => {
    expect(conditionText(condition as never)).toBe(text);
  });
  it("a ratio tells what it sticks to", () => {
    expect(entryText(lane("r", { entry: { ratio: { percent: 30, stickyBy: { header: "x-user" } } } }))).toBe("30 % · header x-user");
    expect(entryText(lane("r", { entry: { ratio: { percent: 30, stickyBy: { cookie: "place", issue: {} } } } }))).toBe("30 % · cookie place (issued)");
  });
  it("one that is paused says so first, whether it is enabled or not", () => {
    const entry = { ratio: { percent: 30 } };
    expect(entryTold(lane("r", { entry: { ...entry, paused: true }, enabled: false }))).toBe("Paused · 30 %");
    expect(entryTold(lane("r", { entry }))).toBe("30 %");
  });
  it("only what is not as it should be is trouble", () => {
    const conditions = [
      { type: "Paused", status: "True", reason: "Paused", message: "as it was meant" },
      { type: "Ready", status: "True" },
      { type: "Ready", status: "False", reason: "Disabled" },
      { type: "Ready", status: "False", reason: "Refused", message: "does not take it" },
      { type: "Conflicted", status: "False" },
      { type: "ContextLost", status: "True", message: "lost" },
    ];
    expect(trouble({ status: { conditions } })).toEqual([
      { type: "Refused", message: "does not take it" },
      { type: "ContextLost", message: "lost" },
    ]);
  });
});
