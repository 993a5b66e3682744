import { expect, it } from "vitest";
import type { Top } from "../api/client";
import { cellOf, rate, share, span, sums } from "./figures";

it("writes figures as exact as they are known", () => {
  expect([0, 31, 312.4, 12_300].map(rate)).toEqual(["0.0", "31.0", "312", "12.3 k"]);
  expect([null, 0, 0.0005, 0.031, 0.25, 1].map(share)).toEqual(["–", "0 %", "0.05 %", "3.1 %", "25.0 %", "100.0 %"]);
  expect([null, 3.21, 47.4, 12_000].map(span)).toEqual(["–", "3.2 ms", "47 ms", "12.0 s"]);
});

it("adds up total, exception and gray, and leaves out what was not recorded", () => {
  const lines = [
    { name: "base", requests: [null, 10, 20], errors: [null, 0, 1] },
    { name: "trade/gray", requests: [null, null, 4], errors: [null, null, 2] },
  ];
  expect(sums(lines, 3, 2)).toEqual({ total: [null, 5, 12], exception: [null, 0, 1.5], gray: [null, 0, 2] });
  expect(sums([], 1, 1)).toEqual({ total: [null], exception: [null], gray: [null] });
});

it("finds base by its empty lane, whatever the group", () => {
  const row = (group: string, lane: string) => ({ group, lane, application: "a", countedBy: "application", fallback: 0, unserved: 0, figures: { requests: 1, requestsPerSecond: 1, errors: 0 } });
  const top = { rows: [row("trade", "gray"), row("stock", "gray"), row("", "")] } as unknown as Top;
  expect(cellOf(top, "stock", "gray", "a")?.group).toBe("stock");
  expect(cellOf(top, "stock", null, "a")?.lane).toBe("");
  expect(cellOf(top, "stock", "blue", "a")).toBeUndefined();
});
