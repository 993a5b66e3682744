// Figures as people read them, and what the diagram shows of them.
import type { Row } from "../swim/model";
import type { Top, TopRow } from "../api/client";

export function rate(perSecond: number): string {
  if (perSecond >= 1000) return `${(perSecond / 1000).toFixed(1)} k`;
  return perSecond >= 100 ? perSecond.toFixed(0) : perSecond.toFixed(1);
}

export function share(of: number | null | undefined): string {
  if (of == null) return "–";
  const percent = of * 100;
  return `${percent >= 10 || percent === 0 ? percent.toFixed(percent === 0 ? 0 : 1) : percent.toFixed(percent < 0.1 ? 2 : 1)} %`;
}

export function span(milliseconds: number | null | undefined): string {
  if (milliseconds == null) return "–";
  if (milliseconds >= 10_000) return `${(milliseconds / 1000).toFixed(1)} s`;
  return `${milliseconds < 10 ? milliseconds.toFixed(1) : milliseconds.toFixed(0)} ms`;
}

/** From this share of errors on something is marked. */
export const BAD_RATIO = 0.01;

/** What an application serves in a lane; none of base. */
export function cellOf(top: Top | undefined, group: string, tag: string | null, application: string): TopRow | undefined {
  return top?.rows.find((it) => it.application === application && (tag === null ? it.lane === "" : it.group === group && it.lane === tag));
}

/** Requests a second of a row where they enter: at the first application that has any. */
export function rowRate(top: Top | undefined, group: string, row: Row): number | undefined {
  for (const cell of row.cells) {
    const told = cellOf(top, group, row.tag, cell.application);
    if (told) return told.figures.requestsPerSecond;
  }
  return top ? 0 : undefined;
}

export interface Sum {
  total: (number | null)[];
  exception: (number | null)[];
  gray: (number | null)[];
}

/** Total, exception and gray requests a second, of the lines of an application told apart by lane. */
export function sums(lines: readonly { name: string; requests: (number | null)[]; errors: (number | null)[] }[], steps: number, seconds: number): Sum {
  const of = (pick: (line: (typeof lines)[number]) => (number | null)[] | undefined) =>
    Array.from({ length: steps }, (_, step) => {
      const told = lines.map((line) => pick(line)?.[step]).filter((it) => it != null);
      return told.length === 0 ? null : told.reduce((sum, it) => sum + it, 0) / seconds;
    });
  const total = of((line) => line.requests);
  const gray = of((line) => (line.name === "base" ? undefined : line.requests));
  // A step that was recorded, and in which no lane had anything, had no gray request.
  return { total, exception: of((line) => line.errors), gray: gray.map((it, step) => it ?? (total[step] == null ? null : 0)) };
}
