// What the diagram shows of a group: rows of lanes in the order they are tried, base last, and who serves each cell.
import type { Instance, Lane, LaneGroup } from "../api/client";
import { type Hop, baseCount, entryTold, hop, inOrder, instancesOf, isEnabled, isUsable, marks, tagOf } from "../logic/lanes";

export interface Cell {
  application: string;
  hop: Hop;
  /** Instances of this cell's own tag that are not usable now. */
  unusable: number;
}

export interface Row {
  /** None is base. */
  lane: Lane | null;
  tag: string | null;
  number: number | null;
  isOn: boolean;
  entry: string;
  cells: Cell[];
}

export interface Swim {
  applications: string[];
  rows: Row[];
}

export function swim(group: LaneGroup, all: readonly Lane[], instances: readonly Instance[]): Swim {
  const lanes = inOrder(all, group);
  const numbers = marks(lanes);
  const applications = group.spec.applications ?? [];
  const bases = new Map(applications.map((it) => [it, baseCount(lanes, instances, it)]));
  const unusable = (application: string, tag: string | null) => instancesOf(instances, application, tag).filter((it) => !isUsable(it)).length;
  const rows = lanes.map((lane): Row => {
    const tag = tagOf(lane);
    const cells = applications.map((application) => ({
      application,
      hop: hop(lane, lanes, application, bases.get(application) ?? 0),
      unusable: unusable(application, tag),
    }));
    return { lane, tag, number: numbers.get(tag) ?? 1, isOn: isEnabled(lane), entry: entryTold(lane), cells };
  });
  const base: Cell[] = applications.map((application) => {
    const count = bases.get(application) ?? 0;
    return { application, hop: count > 0 ? { by: "own", instances: count } : { by: "nobody", why: "none" }, unusable: unusable(application, null) };
  });
  rows.push({ lane: null, tag: null, number: null, isOn: true, entry: "", cells: base });
  return { applications, rows };
}

/** The row that serves each hop of a row; none where nobody does. */
export function servingRows(of: Swim, row: number): (number | null)[] {
  return (of.rows[row]?.cells ?? []).map(({ hop: it }) => {
    if (it.by === "own") return row;
    if (it.by === "nobody") return null;
    return of.rows.findIndex((other) => other.tag === it.tag);
  });
}
