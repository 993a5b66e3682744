// The swim-lane diagram: applications by lanes, base as the last row, and the way requests of each lane take.
import { Link } from "@tanstack/react-router";
import { type KeyboardEvent, useLayoutEffect, useRef, useState } from "react";
import type { Instance, Top, TopRow } from "../api/client";
import { BAD_RATIO, cellOf, rate, rowRate, share } from "../logic/figures";
import { Icon, Mark, laneClass } from "../parts/icons";
import { Badge } from "../parts/ui";
import { StandingMark, worseText } from "../parts/verdict";
import { isWorse } from "../logic/lanes";
import { counted, t } from "../words";
import { type View, fitting, layout, way } from "./geometry";
import { type Cell, type Row, type Swim, servingRows } from "./model";
import { reading } from "./reading";
import { Stops } from "./stops";

/** Below this, one lane is shown as a list of stops. */
const PHONE = 560;
/** With more lanes than these the ways are thin, and the pointed one stands out. */
const DRAWN_MAX = 3;
const SQUARES_MAX = 6;

interface Place {
  row: number;
  column: number;
}

function Squares({ count, unusable }: { count: number; unusable: number }) {
  return (
    <span className="squares" aria-hidden="true">
      {Array.from({ length: Math.min(count, SQUARES_MAX) }, (_, index) => (
        <i key={index} />
      ))}
      {Array.from({ length: Math.min(unusable, SQUARES_MAX) }, (_, index) => (
        <i key={`unusable-${index}`} className="unusable" />
      ))}
    </span>
  );
}

/** Requests of a lane that reach an application, and how many fail: beside what serves them. */
function Traffic({ told }: { told: TopRow | undefined }) {
  if (!told || told.figures.requests === 0) return null;
  const { requestsPerSecond, errorRatio } = told.figures;
  return (
    <span className="traffic figure">
      {rate(requestsPerSecond)}/s
      {errorRatio != null && errorRatio >= BAD_RATIO && <b className="bad">{share(errorRatio)}</b>}
    </span>
  );
}

/** The same, in words. */
function trafficReading(told: TopRow | undefined): string {
  if (!told || told.figures.requests === 0) return "";
  return `, ${t("{r} requests per second, {e} errors", { r: rate(told.figures.requestsPerSecond), e: share(told.figures.errorRatio) })}`;
}

/** Whose answers are why the lane is worse than base. */
function isCulprit(row: Row, cell: Cell): boolean {
  return row.lane !== null && isWorse(row.lane) && row.lane.status?.verdict?.culprit === cell.application;
}

function culpritReading(row: Row, cell: Cell): string {
  return isCulprit(row, cell) ? `, ${t("why the lane is worse than base")}` : "";
}

function Inside({ cell, swim, view }: { cell: Cell; swim: Swim; view: View }) {
  const { hop, unusable } = cell;
  if (view === "overview") return null;
  if (hop.by === "own") {
    const words = unusable > 0 ? t("{u} of {n} usable", { u: hop.instances, n: hop.instances + unusable }) : counted(hop.instances, "1 instance", "{n} instances");
    return (
      <span>
        <Squares count={hop.instances} unusable={unusable} />
        <b>{view === "compact" ? hop.instances : words}</b>
      </span>
    );
  }
  if (hop.by === "nobody") return <b>{view === "compact" ? "503" : t("503: no usable instance")}</b>;
  const number = swim.rows.find((it) => it.tag === hop.tag)?.number ?? null;
  return (
    <>
      <span>
        <Icon name="back" />
        <span className={laneClass(number)}>
          <Mark number={number} />
        </span>
        <b>{hop.tag ?? t("base")}</b>
      </span>
      {view === "detailed" && <span>{hop.why === "off" ? t("switched off here") : t("no own instance")}</span>}
    </>
  );
}

export function Diagram({ swim, instances, top, wanted, entrance, group, onOpen }: { swim: Swim; instances: readonly Instance[]; top: Top | undefined; wanted: View | "auto"; entrance: string; group: string; onOpen: (application: string, tag: string | null) => void }) {
  const box = useRef<HTMLDivElement>(null);
  const [available, setAvailable] = useState(0);
  useLayoutEffect(() => {
    const element = box.current;
    if (!element) return;
    setAvailable(element.clientWidth);
    const observer = new ResizeObserver(() => setAvailable(element.clientWidth));
    observer.observe(element);
    return () => observer.disconnect();
  }, []);
  const isPhone = available > 0 && available < PHONE;
  return (
    <div ref={box}>
      {isPhone ? <Stops swim={swim} entrance={entrance} /> : available > 0 && <Wide {...{ swim, instances, top, wanted, entrance, group, onOpen, available }} />}
    </div>
  );
}

function Wide({ swim, top, wanted, entrance, group, onOpen, available }: Omit<Parameters<typeof Diagram>[0], never> & { available: number }) {
  const [at, setAt] = useState<Place>({ row: 0, column: 0 });
  const [pointed, setPointed] = useState<Place | null>(null);
  const grid = useRef<HTMLDivElement>(null);
  const { rows, applications } = swim;
  const view = wanted === "auto" ? fitting(available, applications.length) : wanted;
  const place = layout(view, available, applications.length, rows.length);
  const last = { row: rows.length - 1, column: applications.length - 1 };
  const focused = { row: Math.min(at.row, last.row), column: Math.min(at.column, last.column) };
  const read = pointed ?? null;
  const readRow = read && rows[read.row];
  const readCell = readRow?.cells[read?.column ?? 0];
  const worseLane = rows.find((row) => row.lane && isWorse(row.lane))?.lane;
  const worst = worseLane && worseText(worseLane);

  const move = (event: KeyboardEvent) => {
    const next = { ...focused };
    if (event.key === "ArrowRight") next.column += 1;
    else if (event.key === "ArrowLeft") next.column -= 1;
    else if (event.key === "ArrowDown") next.row += 1;
    else if (event.key === "ArrowUp") next.row -= 1;
    else if (event.key === "Home") next.column = 0;
    else if (event.key === "End") next.column = last.column;
    else if (event.key === "Enter" || event.key === " ") {
      const row = rows[focused.row];
      const cell = row?.cells[focused.column];
      if (row && cell) onOpen(cell.application, row.tag);
      event.preventDefault();
      return;
    } else return;
    event.preventDefault();
    const row = Math.max(0, Math.min(last.row, next.row));
    const column = Math.max(0, Math.min(last.column, next.column));
    setAt({ row, column });
    grid.current?.querySelector<HTMLElement>(`[data-at="${row}-${column}"]`)?.focus();
  };

  return (
    <>
      <div className="swim-box">
        <div ref={grid} className={`swim ${view}`} role="grid" tabIndex={-1} aria-label={t("Swim lanes of {g}: lanes by application", { g: group })} style={{ ["--width" as string]: `${place.width}px`, height: place.height }} onKeyDown={move} onPointerLeave={() => setPointed(null)}>
          <Ways swim={swim} at={place} pointed={pointed?.row ?? null} />
          <div role="row" className="head-row" style={{ top: 0, height: place.sizes.top, width: Math.max(place.width, available) }}>
            <div role="columnheader" className="name small quiet" style={{ width: place.sizes.head }}>
              <span>{t("Entrance")}</span>
              <span className="strong">{entrance}</span>
            </div>
            {applications.map((application, column) => (
              <div role="columnheader" className="application" key={application} title={application} style={{ position: "absolute", left: place.x(column), width: place.cellWidth, bottom: 0, height: view === "overview" ? place.sizes.top : undefined }}>
                {application}
              </div>
            ))}
          </div>
          {rows.map((row, index) => (
            <div role="row" key={row.tag ?? ""} className={`${laneClass(row.number)} ${row.lane ? "" : "base-row"} ${row.isOn ? "" : "off-row"}`} style={{ top: place.sizes.top + index * place.sizes.row, height: place.sizes.row, width: Math.max(place.width, available) }}>
              <div role="rowheader" className="name" style={{ width: place.sizes.head }}>
                {row.lane ? (
                  <span className="line tight">
                    <Link className={`badge ${row.isOn ? "" : "off"}`} to="/lanes/$group/$tag" params={{ group, tag: row.tag ?? "" }}>
                      <Mark number={row.number} />
                      <span>{row.tag}</span>
                    </Link>
                    <StandingMark lane={row.lane} />
                  </span>
                ) : (
                  <span style={{ alignSelf: "flex-start" }}>
                    <Badge tag={t("base")} number={null} />
                  </span>
                )}
                {view === "detailed" && (
                  <span className="small second" title={row.entry}>
                    {(rowRate(top, group, row) ?? 0) > 0 && `${rate(rowRate(top, group, row) ?? 0)}/s · `}
                    {row.lane ? (row.isOn ? row.entry : t("Disabled")) : t("everything else")}
                  </span>
                )}
              </div>
              {row.cells.map((cell, column) => (
                <div
                  role="gridcell"
                  key={cell.application}
                  data-at={`${index}-${column}`}
                  tabIndex={focused.row === index && focused.column === column ? 0 : -1}
                  aria-label={reading(row, cell) + trafficReading(cellOf(top, group, row.tag, cell.application)) + culpritReading(row, cell)}
                  className={`cell ${cell.hop.by} ${cell.hop.by === "other" && cell.hop.tag === null ? "to-base" : ""} ${isCulprit(row, cell) ? "culprit" : ""}`}
                  style={{ position: "absolute", left: place.x(column), width: place.cellWidth, height: place.sizes.cell, top: (place.sizes.row - place.sizes.cell) / 2 }}
                  onPointerEnter={() => setPointed({ row: index, column })}
                  onFocus={() => {
                    setAt({ row: index, column });
                    setPointed({ row: index, column });
                  }}
                  onBlur={() => setPointed(null)}
                  onClick={() => onOpen(cell.application, row.tag)}
                >
                  <Inside cell={cell} swim={swim} view={view} />
                  {view === "detailed" && <Traffic told={cellOf(top, group, row.tag, cell.application)} />}
                </div>
              ))}
            </div>
          ))}
        </div>
      </div>
      <p className="reading">{readRow && readCell ? reading(readRow, readCell) + trafficReading(cellOf(top, group, readRow.tag, readCell.application)) + culpritReading(readRow, readCell) : worst ? `${worst.title} · ${worst.text}` : t("Point at a cell, or move with the arrow keys, to read it here.")}</p>
      <div className="key">
        <span>
          <i className="solid" />
          {t("own instances")}
        </span>
        <span>
          <i className="dots" />
          {t("falls back")}
        </span>
        <span className="lane-base">
          <Squares count={1} unusable={0} />
          {t("usable")}
        </span>
        <span className="lane-base">
          <Squares count={0} unusable={1} />
          {t("unusable")}
        </span>
      </div>
    </>
  );
}

function Ways({ swim, at, pointed }: { swim: Swim; at: ReturnType<typeof layout>; pointed: number | null }) {
  const { rows, applications } = swim;
  const drawn = rows.map((row, index) => ({ row, index })).filter(({ row }) => row.isOn);
  const isMany = drawn.length - 1 > DRAWN_MAX;
  const end = (at.x(applications.length - 1) || at.bar.x) + at.cellWidth;
  const bandTop = at.sizes.top + (rows.length - 1) * at.sizes.row;
  return (
    <svg className="rails" width="100%" height={at.height} aria-hidden="true">
      <rect className="band" x={0} y={bandTop} width="100%" height={at.sizes.row} />
      {drawn.map(({ row, index }, place) => (
        <g key={row.tag ?? ""} className={`${laneClass(row.number)} ${isMany ? "thin" : ""} ${isMany && pointed !== null && pointed !== index ? "dim" : ""}`}>
          {row.lane === null ? (
            <path d={`M${at.bar.x + 4} ${at.y(index)}H${end}`} />
          ) : (
            way(at, index, servingRows(swim, index), place, drawn.length).map((it, segment) => (
              <g key={segment}>
                <path className={it.isDotted ? "dotted" : ""} d={it.d} />
                {it.tip && <path className="tip" d={`M${it.tip.x} ${it.tip.y}l-7 -4v8z`} />}
              </g>
            ))
          )}
        </g>
      ))}
      <rect className="bar" x={at.bar.x} y={at.bar.from} width={4} height={at.bar.to - at.bar.from} rx={1} />
    </svg>
  );
}
