// What lanes mean for a reader: their order, their colour, and who serves each hop. The control plane decides about
// requests; here the same rules (semantics 2, 7, 8) are only read out of what it tells: usable instances by application.
import type { Instance, Lane, LaneCondition, LaneGroup } from "../api/client";
import { t } from "../words";

export function tagOf(lane: Lane): string {
  return lane.spec.tag ?? lane.metadata.name;
}

export function isEnabled(lane: Lane): boolean {
  return lane.spec.enabled ?? true;
}

/** Whether entrances put nobody into it for now; who is in it stays. */
export function isPaused(lane: Lane): boolean {
  return lane.spec.entry.paused ?? false;
}

/** Whether it was found to be worse than base. A disabled lane is not judged. */
export function isWorse(lane: Lane): boolean {
  return isEnabled(lane) && lane.status?.verdict?.state === "worse";
}

export function modeOf(lanes: readonly Lane[]): "content" | "ratio" | undefined {
  const [first] = lanes;
  if (!first) return undefined;
  return first.spec.entry.ratio ? "ratio" : "content";
}

/** Times are told to the second; of two that nobody has changed since, the versions tell more. */
function byCreation(a: Lane, b: Lane): number {
  const [x, y] = [a.metadata, b.metadata];
  const isUnchanged = x.generation === 1 && y.generation === 1;
  return (
    (x.creationTimestamp ?? "").localeCompare(y.creationTimestamp ?? "") ||
    (isUnchanged ? Number(x.resourceVersion ?? 0) - Number(y.resourceVersion ?? 0) : 0) ||
    x.name.localeCompare(y.name)
  );
}

/** The lanes of a group in the order they are tried. */
export function inOrder(lanes: readonly Lane[], group: LaneGroup): Lane[] {
  const own = lanes.filter(
    (lane) => lane.spec.group === group.metadata.name && (lane.metadata.namespace ?? "default") === (group.metadata.namespace ?? "default"),
  );
  return own.sort((a, b) => (a.spec.priority ?? 0) - (b.spec.priority ?? 0) || byCreation(a, b));
}

/** Colour and mark of each lane, by its tag: they follow the order of creation, whatever is tried first. */
export function marks(lanes: readonly Lane[]): Map<string, number> {
  const created = [...lanes].sort(byCreation);
  return new Map(created.map((lane, index) => [tagOf(lane), index + 1]));
}

export function matchedOf(lane: Lane, application: string): { base: number; tagged: number } | undefined {
  return lane.status?.matched?.find((it) => it.application === application);
}

export function isSwitchedOff(lane: Lane, application: string): boolean {
  return lane.spec.applications?.some((it) => it.name === application && it.enabled === false) ?? false;
}

/** What a lane says of its applications once this one is switched; what it says of others stays. */
export function switched(lane: Lane, application: string, isOn: boolean): NonNullable<Lane["spec"]["applications"]> {
  const others = (lane.spec.applications ?? []).filter((it) => it.name !== application);
  return isOn ? others : [...others, { name: application, enabled: false }];
}

/** Who serves a hop of a lane. */
export type Hop =
  | { by: "own"; instances: number }
  /** `tag` of the lane that does; none is base. `why`: the application is switched off here, or has no usable instance. */
  | { by: "other"; tag: string | null; instances: number; why: "off" | "none" }
  /** 503. */
  | { by: "nobody"; why: "strict" | "none" };

export function hop(lane: Lane, lanes: readonly Lane[], application: string, base: number): Hop {
  const isOff = isSwitchedOff(lane, application);
  const own = matchedOf(lane, application)?.tagged ?? 0;
  if (!isOff && own > 0) return { by: "own", instances: own };
  const { fallback } = lane.spec;
  if (fallback === "none") return { by: "nobody", why: "strict" };
  const why = isOff ? "off" : "none";
  for (const tag of fallback ?? []) {
    const other = lanes.find((it) => tagOf(it) === tag);
    if (!other || !isEnabled(other) || isSwitchedOff(other, application)) continue;
    const instances = matchedOf(other, application)?.tagged ?? 0;
    if (instances > 0) return { by: "other", tag, instances, why };
  }
  return base > 0 ? { by: "other", tag: null, instances: base, why } : { by: "nobody", why: "none" };
}

export function isUsable(instance: Instance): boolean {
  return instance.health === "usable" || instance.health === "silent";
}

export function instancesOf(instances: readonly Instance[], application: string, tag: string | null): Instance[] {
  return instances.filter((it) => it.application === application && (it.tag === "" ? null : it.tag) === tag);
}

/** Usable untagged instances: as a lane tells it, else counted. */
export function baseCount(lanes: readonly Lane[], instances: readonly Instance[], application: string): number {
  const told = lanes.map((lane) => matchedOf(lane, application)).find((it) => it !== undefined);
  return told?.base ?? instancesOf(instances, application, null).filter(isUsable).length;
}

/** A condition as people read it: `header canary == gray`. */
export function conditionText(condition: LaneCondition): string {
  const { operator } = condition;
  const value = condition.values ? `[${condition.values.join(", ")}]` : condition.value == null ? "" : String(condition.value);
  return [parameterText(condition), operator, operator === "percentage" ? `${value} %` : value].filter(Boolean).join(" ");
}

export function parameterText(of: { header?: string | null; query?: string | null; cookie?: string | null; claim?: string | null; attribute?: string | null }): string {
  if (of.header != null) return `header ${of.header}`;
  if (of.query != null) return `query ${of.query}`;
  if (of.cookie != null) return `cookie ${of.cookie}`;
  if (of.claim != null) return `claim ${of.claim}`;
  return of.attribute ?? "";
}

/** How requests enter, in one line; that nobody does for now stands before it. */
export function entryTold(lane: Lane): string {
  return isPaused(lane) ? `${t("Paused")} · ${entryText(lane)}` : entryText(lane);
}

/** How requests enter while it is not paused, in one line. */
export function entryText(lane: Lane): string {
  const { ratio, content } = lane.spec.entry;
  if (ratio) return `${ratio.percent} %${ratio.stickyBy ? ` · ${parameterText(ratio.stickyBy)}${ratio.stickyBy.issue ? ` (${t("issued")})` : ""}` : ""}`;
  const conditions = (content?.conditions ?? []).map(conditionText);
  return conditions.join(content?.meet === "any" ? " | " : " & ");
}

export function entranceText(group: LaneGroup): string {
  return (group.spec.entrances ?? [])
    .map((it) => it.application ?? `${it.gateway ?? ""}${it.routes?.length ? ` (${it.routes.join(", ")})` : ""}`)
    .join(", ");
}

/** What is said of an object while all is as it was meant: switched off, or on its way. */
const EXPECTED = new Set(["Disabled", "Admitting", "Distributing", "Syncing"]);

/** What the control plane tells that is not as it should be. */
export function trouble(object: { status?: Lane["status"] }): { type: string; message: string }[] {
  const bad = { Ready: "False", Accepted: "False", ResolvedRefs: "False", Programmed: "False", Issued: "False", Paused: "Unknown", Conflicted: "True", ContextLost: "True" };
  return (object.status?.conditions ?? [])
    .filter((it) => bad[it.type as keyof typeof bad] === it.status && !EXPECTED.has(it.reason ?? ""))
    .map((it) => ({ type: it.reason || it.type, message: it.message ?? "" }));
}
