// Small pictures of a group: dots in a list, and what a flow is about to create.
import { laneClass } from "../parts/icons";
import { t } from "../words";
import type { Swim } from "./model";

const DOT = 7;
const STEP = 14;
const COLUMNS_MAX = 12;
const ROWS_MAX = 6;

export function Dots({ swim }: { swim: Swim }) {
  const columns = swim.applications.slice(0, COLUMNS_MAX);
  const rows = [...swim.rows.slice(0, -1).slice(0, ROWS_MAX - 1), ...swim.rows.slice(-1)];
  const [width, height] = [columns.length * STEP, rows.length * 12];
  return (
    <svg className="mini" width={width} height={height} aria-hidden="true">
      {rows.map((row, index) => (
        <g key={row.tag ?? ""} className={laneClass(row.number)} opacity={row.isOn ? 1 : 0.4}>
          <path className={`rail ${row.lane ? "dotted" : ""}`} d={`M0 ${index * 12 + 6}H${width}`} opacity={0.5} />
          {columns.map((_, column) => row.cells[column]?.hop.by === "own" && <rect key={column} className="dot" x={column * STEP + 3} y={index * 12 + 6 - DOT / 2} width={DOT} height={DOT} rx={2} />)}
        </g>
      ))}
    </svg>
  );
}

/** A lane above base, as it would be: which applications have instances of the tag. */
export function Sketch({ applications, own, tag, entrance }: { applications: readonly string[]; own: (application: string) => boolean; tag: string; entrance: string }) {
  const shown = applications.slice(0, 6);
  const x = (column: number) => 26 + column * 44;
  const [top, bottom] = [44, 92];
  const right = x(Math.max(shown.length, 1));
  const ground = bottom - 5;
  let way = `M8 ${top}`;
  for (const [column, application] of shown.entries()) way += `H${x(column) - 10}V${own(application) ? top : ground}H${x(column) + 14}`;
  const boxes = (y: number, has: (application: string) => boolean) =>
    shown.map((it, column) =>
      has(it) ? (
        <g key={it}>
          <rect className="box" x={x(column)} y={y - 11} width="28" height="22" rx="5" />
          <text x={x(column) + 14} y={y + 4} textAnchor="middle">
            {initial(it)}
          </text>
        </g>
      ) : null,
    );
  return (
    <svg className="mini sketch" width={right + 64} height="116" role="img" aria-label={t("Requests of {x} over {n} applications; what the lane has not is served by base", { x: tag || t("the lane"), n: applications.length })}>
      <text className="note" x="0" y="18">
        {entrance || t("Entrance")}
      </text>
      <g className="lane-base">
        <path className="rail" d={`M8 ${bottom}H${right - 18}`} />
      </g>
      <g className="lane-1">
        <path className="rail dotted" d={way} />
        {boxes(top, own)}
        <text className="note" x={right} y={top + 4}>
          {tag || "…"}
        </text>
      </g>
      <g className="lane-base">
        {boxes(bottom, () => true)}
        <text className="note" x={right} y={bottom + 4}>
          {t("base")}
        </text>
      </g>
      <rect className="bar" x="4" y={top - 14} width="4" height={bottom - top + 28} rx="1" />
    </svg>
  );
}

function initial(application: string): string {
  return (application.split(/[-_.]/).at(-1) ?? application).slice(0, 3).toUpperCase();
}
