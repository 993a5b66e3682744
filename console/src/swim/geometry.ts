// Where everything of the swim-lane diagram stands: from constants and counts, never from what the browser made of a cell.

export type View = "detailed" | "compact" | "overview";

interface Sizes {
  /** Width of the lanes' names. */
  head: number;
  /** From the names to the first application. */
  entrance: number;
  /** An application's column, the gutter before it included, at least and at most. */
  column: number;
  columnMax: number;
  gutter: number;
  row: number;
  cell: number;
  /** Height of the applications' names. */
  top: number;
}

export const SIZES: Record<View, Sizes> = {
  detailed: { head: 190, entrance: 44, column: 178, columnMax: 280, gutter: 52, row: 74, cell: 50, top: 48 },
  compact: { head: 150, entrance: 30, column: 88, columnMax: 150, gutter: 24, row: 48, cell: 34, top: 42 },
  overview: { head: 140, entrance: 20, column: 30, columnMax: 40, gutter: 14, row: 32, cell: 16, top: 128 },
};

/** The most detailed view that fits. */
export function fitting(width: number, columns: number): View {
  const fits = (view: View) => SIZES[view].head + SIZES[view].entrance + columns * SIZES[view].column <= width;
  return fits("detailed") ? "detailed" : fits("compact") ? "compact" : "overview";
}

export interface Layout {
  view: View;
  width: number;
  height: number;
  sizes: Sizes;
  cellWidth: number;
  /** Left edge of a column's cells. */
  x: (column: number) => number;
  /** Middle of a row. */
  y: (row: number) => number;
  /** The entrance. */
  bar: { x: number; from: number; to: number };
}

/** `rows` counts base, the last. */
export function layout(view: View, available: number, columns: number, rows: number): Layout {
  const sizes = SIZES[view];
  const fixed = sizes.head + sizes.entrance;
  const right = 16;
  const room = columns > 0 ? Math.floor((available - fixed - right) / columns) : 0;
  const column = Math.max(sizes.column, Math.min(sizes.columnMax, room));
  const y = (row: number) => sizes.top + row * sizes.row + sizes.row / 2;
  return {
    view,
    sizes,
    width: fixed + columns * column + right,
    height: sizes.top + rows * sizes.row,
    cellWidth: column - sizes.gutter,
    x: (index) => fixed + index * column + sizes.gutter,
    y,
    bar: { x: sizes.head, from: y(0) - 10, to: y(rows - 1) + 10 },
  };
}

export interface Segment {
  d: string;
  isDotted: boolean;
  /** Where an arrow points. */
  tip?: { x: number; y: number };
}

/**
 * The way of a lane's requests: `stops` are the rows that serve its hops, `null` where nobody does and the way ends.
 * `place` of `of` keeps ways apart that use the same row.
 */
export function way(at: Layout, row: number, stops: readonly (number | null)[], place: number, of: number): Segment[] {
  const segments: Segment[] = [];
  const shift = (used: number) => (used === row ? 0 : clamp((place - (of - 1) / 2) * 5, at.sizes.cell / 2 - 5));
  let from = { x: at.bar.x + 4, row };
  for (const [column, stop] of stops.entries()) {
    const to = stop ?? row;
    const end = at.x(column);
    const [y1, y2] = [at.y(from.row) + shift(from.row), at.y(to) + shift(to)];
    const isOwn = from.row === row && to === row;
    if (y1 === y2) {
      segments.push({ d: `M${from.x} ${y1}H${end}`, isDotted: !isOwn });
    } else {
      const middle = end - at.sizes.gutter / 2 + clamp((place - (of - 1) / 2) * 5, at.sizes.gutter / 2 - 8);
      const r = Math.min(6, Math.abs(y2 - y1) / 2, middle - from.x);
      const down = y2 > y1 ? 1 : -1;
      const tip = end - 6;
      const d = `M${from.x} ${y1}H${middle - r}Q${middle} ${y1} ${middle} ${y1 + down * r}V${y2 - down * r}Q${middle} ${y2} ${middle + r} ${y2}H${tip}`;
      segments.push({ d, isDotted: true, tip: { x: end, y: y2 } });
    }
    if (stop === null) return segments;
    from = { x: end + at.cellWidth, row: to };
  }
  return segments;
}

function clamp(value: number, most: number): number {
  return Math.max(-most, Math.min(most, value));
}
