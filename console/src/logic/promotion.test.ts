// Which promotion is meant, what stands in its way, and the command that does the same.
import { describe, expect, it } from "vitest";
import type { Promotion, PromotionCheck } from "../api/client";
import { checkText, checksOf, inTheWay, nextCommand, promotionOf, vouchedFor } from "./promotion";

const check = (id: string, more: Partial<PromotionCheck> = {}): PromotionCheck => ({ id, kind: "instances", state: "waiting", confirmable: true, n: 0, of: 2, message: "", ...more });

function promotion(started: string, more: Partial<Promotion> = {}): Promotion {
  return {
    lane: { kind: "Lane", namespace: "default", name: "trade-gray" },
    group: "trade",
    tag: "gray",
    applications: ["a"],
    started,
    startedBy: { kind: "user", name: "li" },
    step: "base",
    steps: [
      { step: "verdict", state: "done" },
      { step: "base", state: "current", checks: [check("instances/a")] },
    ],
    ...more,
  };
}

describe("a promotion", () => {
  it("is the one that goes on, else the latest", () => {
    const end = { outcome: "abandoned", time: "", message: "" } as const;
    const [old, late, other] = [promotion("1"), promotion("2", { end }), promotion("3", { tag: "blue" })];
    expect(promotionOf([late, old, other], "trade", "gray")).toBe(old);
    expect(promotionOf([promotion("1", { end }), late], "trade", "gray")).toBe(late);
    expect(promotionOf([other], "trade", "gray")).toBeUndefined();
    expect(checksOf(old).map((it) => it.id)).toEqual(["instances/a"]);
  });

  it("goes on past what holds and what is vouched for, never past what cannot be", () => {
    const checks = [check("ok", { state: "ok" }), check("instances/a"), check("closed", { confirmable: false })];
    const all = new Set(["ok", "instances/a", "closed"]);
    expect(inTheWay(checks, new Set()).map((it) => it.id)).toEqual(["instances/a", "closed"]);
    expect(inTheWay(checks, all).map((it) => it.id)).toEqual(["closed"]);
    expect(vouchedFor(checks, all)).toEqual(["instances/a"]);
  });

  it("reads as the command that does the same", () => {
    expect(nextCommand(promotion("1"), ["instances/a", "version"])).toBe("laneway lane promote trade/gray --next base --confirm instances/a --confirm version");
    const shop = promotion("1", { lane: { kind: "Lane", namespace: "shop", name: "x" } });
    expect(nextCommand(shop, [])).toBe("laneway lane promote trade/gray --next base --namespace shop");
  });

  it("says what its checks have found", () => {
    expect(checkText(check("a", { n: 1 }))).toBe("1 of 2 instances of base are new since the start");
    expect(checkText(check("a", { n: 2, state: "ok" }))).toBe("All 2 instances of base are new");
    expect(checkText(check("a", { n: 2 }))).toBe("Not all instances of base are usable");
    expect(checkText(check("v", { kind: "verdict", state: "unknown", n: 3 }))).toContain("The lane is paused");
    expect(checkText(check("e", { kind: "errors", state: "ok", n: 1, of: 200 }))).toBe("0.5 % errors of 200 requests");
    expect(checkText(check("c", { kind: "closed", state: "unknown", of: 0 }))).toBe("No data plane is known: whether the entrances are closed is not either");
    expect(checkText(check("f", { kind: "files", state: "unknown", n: 1 }))).toContain("brings it back");
    expect(checkText(check("r", { kind: "removal", n: 0, of: 1 }))).toBe("The lane goes; it has no instance to stop. 1 more is used by lanes of other groups: keep it");
    expect(checkText(check("i", { kind: "idle", n: 0, of: 30 }))).toBe("No request in the lane; 30 s are waited for");
  });
});
