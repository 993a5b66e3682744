// Names that are free, and whose they are.
import { expect, it } from "vitest";
import { beside, freeName } from "./names";

const named = (kind: string, name: string, namespace?: string) => ({ kind, metadata: { name, ...(namespace ? { namespace } : {}) } });

it("what a form is creating takes no name from it", () => {
  const own = [named("LaneGroup", "trade"), named("Lane", "trade-gray")];
  const groups = [named("LaneGroup", "trade", "default"), named("LaneGroup", "trade", "other"), named("LaneGroup", "search")];
  expect(beside(groups, []).length).toBe(3);
  expect(beside(groups, own)).toEqual(groups.slice(1));
  expect(beside([named("Lane", "trade")], own).length).toBe(1);
  const names = (lanes: ReturnType<typeof named>[]) => new Set(beside(lanes, own).map((it) => it.metadata.name));
  expect(freeName("trade-gray", names([named("Lane", "trade-gray", "default")]))).toBe("trade-gray");
  expect(freeName("trade-gray", names([named("Lane", "trade-gray", "shop")]))).toBe("trade-gray-2");
});
