// The diagram in words, for the line below it, for screen readers and for phones.
import { counted, t } from "../words";
import type { Cell, Row } from "./model";

function rowName(row: Row): string {
  return row.tag ?? t("base");
}

/** Who serves a cell's application, or why nobody does. */
export function hopReading({ hop, unusable }: Cell): string {
  const more = unusable > 0 ? `, ${t("{n} not usable", { n: unusable })}` : "";
  if (hop.by === "own") return counted(hop.instances, "1 usable instance", "{n} usable instances") + more;
  if (hop.by === "nobody") return t(hop.why === "strict" ? "no usable instance; the lane is strict, requests get 503" : "no usable instance, requests get 503") + more;
  const by = hop.tag ?? t("base");
  return t(hop.why === "off" ? "switched off in this lane; served by {x}" : "no usable instance of the lane; served by {x}", { x: by }) + more;
}

/** A cell whole. */
export function reading(row: Row, cell: Cell): string {
  const off = row.isOn ? "" : `${t("lane disabled")}; `;
  return `${off}${rowName(row)}, ${cell.application}: ${hopReading(cell)}`;
}
