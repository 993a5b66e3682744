// A rule while it is written: texts as typed, and what they mean or why they mean nothing yet.
import type { CookieIssue, Entry, Lane, LaneCondition } from "../api/client";
import { word } from "./write";

export const PARAMETERS = ["header", "query", "cookie", "path", "method", "host", "clientIp"] as const;
export type Parameter = (typeof PARAMETERS)[number];
export const OPERATORS = ["==", "!=", "in", "notIn", "percentage", "regex", "prefix", "exists", "notExists", "cidr"] as const;
export type Operator = (typeof OPERATORS)[number];

export interface DraftCondition {
  parameter: Parameter;
  name: string;
  operator: Operator;
  /** Of a list one value a line: a value may hold commas and blanks, and no line's end. */
  value: string;
  /** The condition as it is there: what nobody has touched is written back as it was. */
  was?: LaneCondition;
}

export interface Draft {
  mode: "content" | "ratio";
  meet: "all" | "any";
  conditions: DraftCondition[];
  percent: string;
  sticky: "" | "header" | "query" | "cookie" | "clientIp";
  stickyName: string;
  /** How gateways issue the cookie to whom has none; none: they do not. */
  issue?: CookieIssue | undefined;
}

export const FRESH: DraftCondition = { parameter: "header", name: "", operator: "==", value: "" };

export function fresh(mode: Draft["mode"]): Draft {
  return { mode, meet: "all", conditions: [FRESH], percent: "5", sticky: "", stickyName: "" };
}

export function isNamed(parameter: Parameter): boolean {
  return parameter === "header" || parameter === "query" || parameter === "cookie";
}

export function takesValue(operator: Operator): boolean {
  return operator !== "exists" && operator !== "notExists";
}

export function isList(operator: Operator): boolean {
  return operator === "in" || operator === "notIn";
}

/** The operators that say something about a parameter. */
export function operatorsOf(parameter: Parameter): readonly Operator[] {
  return parameter === "clientIp" ? OPERATORS : OPERATORS.filter((it) => it !== "cidr");
}

export function fromEntry(entry: Entry): Draft {
  const { ratio, content } = entry;
  if (ratio) {
    const by = ratio.stickyBy;
    const sticky = by?.header != null ? "header" : by?.query != null ? "query" : by?.cookie != null ? "cookie" : by ? "clientIp" : "";
    return { ...fresh("ratio"), percent: String(ratio.percent), sticky, stickyName: by?.header ?? by?.query ?? by?.cookie ?? "", ...(by?.issue ? { issue: by.issue } : {}) };
  }
  const conditions = (content?.conditions ?? []).map((it) => ({ ...typed(it), was: it }));
  return { ...fresh("content"), meet: content?.meet ?? "all", conditions: conditions.length > 0 ? conditions : [FRESH] };
}

function typed(it: LaneCondition): DraftCondition {
  return {
    parameter: it.header != null ? "header" : it.query != null ? "query" : it.cookie != null ? "cookie" : ((it.attribute ?? "path") as Parameter),
    name: it.header ?? it.query ?? it.cookie ?? "",
    operator: it.operator as Operator,
    value: it.values ? it.values.join("\n") : it.value == null ? "" : String(it.value),
  };
}

/** Values as they are; a line on which nothing is, is none. */
export function splitList(text: string): string[] {
  return text.split("\n").filter((it) => it.trim() !== "");
}

/** What changes with the operator: of a list one value is left where only one is asked for. */
export function withOperator(of: DraftCondition, operator: Operator): Partial<DraftCondition> {
  return isList(of.operator) && !isList(operator) ? { operator, value: splitList(of.value)[0] ?? "" } : { operator };
}

function isUntouched(of: DraftCondition, was: LaneCondition): boolean {
  const before = typed(was);
  return of.parameter === before.parameter && of.name === before.name && of.operator === before.operator && of.value === before.value;
}

function condition(of: DraftCondition): LaneCondition {
  if (of.was && isUntouched(of, of.was)) return of.was;
  const parameter = isNamed(of.parameter) ? { [of.parameter]: of.name.trim() } : { attribute: of.parameter };
  const value = !takesValue(of.operator) ? {} : isList(of.operator) ? { values: splitList(of.value) } : { value: of.operator === "percentage" ? Number(of.value) : of.value };
  return { ...parameter, operator: of.operator, ...value } as LaneCondition;
}

export function toEntry(draft: Draft): Entry {
  if (draft.mode === "content") return { content: { meet: draft.meet, conditions: draft.conditions.map(condition) } } as Entry;
  const name = draft.stickyName.trim();
  const issue = draft.sticky === "cookie" && draft.issue ? { issue: draft.issue } : {};
  const stickyBy = draft.sticky === "" ? {} : { stickyBy: draft.sticky === "clientIp" ? { attribute: "clientIp" } : { [draft.sticky]: name, ...issue } };
  return { ratio: { percent: Number(draft.percent), ...stickyBy } } as Entry;
}

export type Lack = "name" | "value" | "list" | "percentage" | "percent" | "key" | "sum";

/** What is missing in a condition before the API need be asked. */
export function lackOf(of: DraftCondition): Lack | undefined {
  if (of.was && isUntouched(of, of.was)) return undefined;
  if (isNamed(of.parameter) && of.name.trim() === "") return "name";
  if (!takesValue(of.operator)) return undefined;
  if (isList(of.operator)) return splitList(of.value).length === 0 ? "list" : undefined;
  if (of.value === "") return "value";
  // Whether an expression compiles is the API's to say: lanes read another dialect than browsers.
  return of.operator === "percentage" && !isPercent(of.value) ? "percentage" : undefined;
}

export function lackOfRatio(draft: Draft, others: number): Lack | undefined {
  if (!isPercent(draft.percent)) return "percent";
  if (Number(draft.percent) + others > 100) return "sum";
  return draft.sticky !== "" && draft.sticky !== "clientIp" && draft.stickyName.trim() === "" ? "key" : undefined;
}

export function isWhole(draft: Draft, others: number): boolean {
  if (draft.mode === "ratio") return lackOfRatio(draft, others) === undefined;
  return draft.conditions.length > 0 && draft.conditions.every((it) => lackOf(it) === undefined);
}

function isPercent(text: string): boolean {
  return /^\d{1,3}(\.\d{1,2})?$/.test(text.trim()) && Number(text) <= 100;
}

/** What other enabled lanes of the group take already. */
export function taken(lanes: readonly Lane[], except?: string): number {
  return lanes
    .filter((it) => (it.spec.enabled ?? true) && it.metadata.name !== except)
    .reduce((sum, it) => sum + (it.spec.entry.ratio?.percent ?? 0), 0);
}

/** What a URL takes as a path, as it is: nothing that makes it another host, a query, or several URLs of curl's. */
const PLAIN_PATH = /^\/[^\s\p{Cc}?#[\]{}]*$/u;

/**
 * The curl that enters: a request that meets these conditions, as far as a command can say them. Whoever copies it runs
 * what somebody else may have written: each word is the shell's one word, and what a terminal would obey is no command.
 */
export function entering(draft: Draft, url: string): string | undefined {
  if (draft.mode !== "content") return undefined;
  const words: string[] = [];
  let [path, query] = ["", ""];
  const wanted = draft.meet === "any" ? draft.conditions.slice(0, 1) : draft.conditions;
  for (const it of wanted) {
    const value = it.operator === "exists" ? "1" : isList(it.operator) ? (splitList(it.value)[0] ?? "") : it.value;
    if (["!=", "notIn", "notExists"].includes(it.operator)) continue;
    if (["percentage", "regex", "cidr"].includes(it.operator) || it.parameter === "clientIp" || it.parameter === "method" || it.parameter === "host") return undefined;
    if (/\p{Cc}/u.test(it.name + value)) return undefined;
    if (it.parameter === "header") words.push("-H", word(`${it.name}: ${value}`));
    else if (it.parameter === "cookie") words.push("-b", word(`${it.name}=${value}`));
    else if (it.parameter === "query") query += `${query ? "&" : "?"}${encodeURIComponent(it.name)}=${encodeURIComponent(value)}`;
    else if (PLAIN_PATH.test(value)) path = value;
    else return undefined;
  }
  return ["curl", ...words, word(`${url}${path}${query}`)].join(" ");
}
