// The diagram's geometry: what fits, where ways go.
import { expect, it } from "vitest";
import { fitting, layout, way } from "./geometry";

it("shows the most that fits", () => {
  expect(fitting(1160, 3)).toBe("detailed");
  expect(fitting(990, 9)).toBe("compact");
  expect(fitting(1160, 40)).toBe("overview");
  expect(fitting(600, 3)).toBe("compact");
});

it("never lets cells and rows run into each other", () => {
  for (const view of ["detailed", "compact", "overview"] as const) {
    const at = layout(view, 1000, 7, 4);
    for (let column = 1; column < 7; column += 1) expect(at.x(column)).toBe(at.x(column - 1) + at.cellWidth + at.sizes.gutter);
    expect(at.y(3) + at.sizes.cell / 2).toBeLessThan(at.height);
    expect(at.width).toBeGreaterThanOrEqual(at.x(6) + at.cellWidth);
    expect(at.cellWidth).toBeGreaterThan(0);
  }
});

it("goes straight in its own row, dotted to another and back, and ends where nobody serves", () => {
  const at = layout("detailed", 1000, 3, 2);
  const back = way(at, 0, [0, 1, 0], 0, 2);
  expect(back.map((it) => [it.isDotted, it.tip !== undefined])).toEqual([
    [false, false],
    [true, true],
    [true, true],
  ]);
  expect(back[0]?.d).toBe(`M${at.bar.x + 4} ${at.y(0)}H${at.x(0)}`);
  expect(way(at, 0, [0, null, 0], 0, 2)).toHaveLength(2);
});

it("keeps ways apart in a row that several use", () => {
  const at = layout("detailed", 1000, 2, 3);
  const [first, second] = [way(at, 0, [2, 2], 0, 3), way(at, 1, [2, 2], 1, 3)];
  expect(first[1]?.d).not.toBe(second[1]?.d);
});
