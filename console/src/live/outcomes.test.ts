// What became of a switch is told of the lane that was switched, and no longer than it is true.
import { expect, it } from "vitest";
import type { Lane } from "../api/client";
import { note, outcomeOf } from "./outcomes";

const lane = (generation: number, uid = "u"): Lane => ({
  apiVersion: "laneway.io/v1alpha1",
  kind: "Lane",
  metadata: { name: "trade-gray", uid, generation },
  spec: { group: "trade", tag: "gray", entry: {} },
});

it("is told while it is on its way, and until somebody changes the lane again", () => {
  note(lane(3), { isOn: false });
  expect(outcomeOf(lane(3))).toEqual({ isOn: false });
  note(lane(3), { isOn: false, generation: 4, acknowledged: 6, all: 6, milliseconds: 180 });
  // The page may know the lane as it was before for a moment.
  for (const generation of [3, 4]) expect(outcomeOf(lane(generation))?.milliseconds).toBe(180);
  expect(outcomeOf(lane(5))).toBeUndefined();
});

it("is not told of another lane of that name, nor where nothing came of it", () => {
  note(lane(1), { isOn: false });
  expect(outcomeOf(lane(1, "another"))).toBeUndefined();
  note(lane(1), undefined);
  expect(outcomeOf(lane(1))).toBeUndefined();
});
