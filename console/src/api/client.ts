// The REST API: one function that asks, the types it answers with, and what can go wrong in words.
import { leave, signOut, token } from "./session";
import type { components } from "./schema";

type Schemas = components["schemas"];
export type Lane = Schemas["Lane"];
export type LaneGroup = Schemas["LaneGroup"];
export type Gateway = Schemas["Gateway"];
export type HttpRoute = Schemas["HTTPRoute"];
export type LaneCondition = Schemas["LaneCondition"];
export type CookieIssue = Schemas["CookieIssue"];
export type Entry = Schemas["Entry"];
export type Fallback = Schemas["Fallback"];
export type Instance = Schemas["InstanceStatus"];
export type Service = Schemas["ServiceStatus"];
export type StatusResponse = Schemas["StatusResponse"];
export type DataPlane = Schemas["DataPlaneStatus"];
export type Finding = Schemas["Finding"];
export type ExplainRequest = Schemas["ExplainRequest"];
export type ExplainResponse = Schemas["ExplainResponse"];
export type ExplainStep = Schemas["ExplainStep"];
export type CheckResponse = Schemas["CheckResponse"];
export type Live = Schemas["Live"];
export type GrpcRoute = Schemas["GRPCRoute"];
export type Basis = Schemas["StatisticsBasis"];
export type Top = Schemas["StatisticsTop"];
export type TopRow = Schemas["StatisticsRow"];
export type Series = Schemas["StatisticsSeries"];
export type Share = Schemas["StatisticsShare"];
export type Compare = Schemas["StatisticsCompare"];
export type Verdict = Schemas["StatisticsVerdict"];
export type JudgedApplication = Schemas["VerdictApplication"];
export type LaneVerdict = Schemas["LaneVerdict"];
export type Figures = Schemas["StatisticsFigures"];
export type TapEvent = Schemas["TapEvent"];
export type TapStatus = Schemas["TapStatus"];
export type TappedRequest = Schemas["TappedRequest"];
export type TappedHop = Schemas["TappedHop"];
export type Session = Schemas["SessionStatus"];
export type Role = Schemas["Role"];
export type Grant = Schemas["Grant"];
export type User = Schemas["UserStatus"];
export type ApiToken = Schemas["ApiTokenStatus"];
export type AuditEntry = Schemas["AuditEntry"] & { number: number };
export type FieldChange = Schemas["FieldChange"];
export type Event = Schemas["Event"];
export type Promotion = Schemas["PromotionStatus"];
export type PromotionStep = Schemas["PromotionStep"];
export type PromotionCheck = Schemas["PromotionCheck"];
type SignedIn = Schemas["SignedIn"];
type Problem = Schemas["Problem"];

/** Objects that pages follow, by the name of their collection. */
export interface Kinds {
  lanegroups: LaneGroup;
  lanes: Lane;
  gateways: Gateway;
  httproutes: HttpRoute;
  grpcroutes: GrpcRoute;
}
export type Plural = keyof Kinds;

export const PREFIX = "/api/v1alpha1";

/** The API's refusal, in its own words. */
export class Refused extends Error {
  constructor(
    readonly status: number,
    title: string,
    readonly detail: string,
    readonly errors: Finding[],
  ) {
    super(title);
  }
}

/** Nobody answered, or something else than the API. */
export class Away extends Error {}

/**
 * Whether what was asked for, and is always there, was not told: the control plane is away, or something else answers in
 * its place. Who must sign in first is told so, and a watch whose history is gone begins anew.
 */
export function isUntold(error: unknown): boolean {
  return error instanceof Away || (error instanceof Refused && error.status !== 401 && error.status !== 410);
}

export async function open(path: string, init: RequestInit = {}): Promise<Response> {
  const headers = new Headers(init.headers);
  const shown = token();
  if (shown !== null) headers.set("authorization", `Bearer ${shown}`);
  let answer: Response;
  try {
    answer = await fetch(PREFIX + path, { ...init, headers, cache: "no-store" });
  } catch (error) {
    const isLate = error instanceof DOMException && error.name === "TimeoutError";
    if (init.signal?.aborted && !isLate) throw error;
    throw new Away("no answer");
  }
  if (answer.ok) {
    const isOurs = answer.status === 204 || /json/.test(answer.headers.get("content-type") ?? "");
    if (isOurs) return answer;
    answer.body?.cancel().catch(() => undefined);
    throw new Away("an answer that is not the API's");
  }
  const problem = (await answer.json().catch(() => ({}))) as Partial<Problem>;
  if (mustEnterAgain(answer.status, problem)) leave();
  throw new Refused(answer.status, problem.title ?? answer.statusText, problem.detail ?? "", problem.errors ?? []);
}

/** Whoever is not known, or has a one-time password still, begins at the sign-in. */
function mustEnterAgain(status: number, problem: Partial<Problem>): boolean {
  return status === 401 || (status === 403 && problem.title === "password must be changed");
}

/** Asks with what a browser has by itself, whatever token this tab keeps. */
async function bare(path: string, body: unknown): Promise<Response> {
  let answer: Response;
  try {
    answer = await fetch(PREFIX + path, { method: "POST", headers: { "content-type": "application/json" }, body: JSON.stringify(body), cache: "no-store" });
  } catch {
    throw new Away("no answer");
  }
  if (answer.ok) return answer;
  const problem = (await answer.json().catch(() => ({}))) as Partial<Problem>;
  throw new Refused(answer.status, problem.title ?? answer.statusText, problem.detail ?? "", problem.errors ?? []);
}

export async function signIn(user: string, password: string): Promise<SignedIn> {
  return (await (await bare("/sign-in", { user, password })).json()) as SignedIn;
}

export async function changePassword(current: string, next: string): Promise<void> {
  await bare("/password", { current, new: next });
}

/** Ends a session; a token that this tab shows is forgotten and stays good. */
export async function endSession(): Promise<void> {
  if (token() === null) await send("POST", "/sign-out", {});
  signOut();
  // Nothing of what was seen stays in the tab.
  location.assign("/sign-in");
}

/** Whether the API knows who shows this token. */
export async function isKnown(shown: string): Promise<boolean> {
  try {
    const answer = await fetch(`${PREFIX}/session`, { headers: { authorization: `Bearer ${shown}` }, cache: "no-store" });
    return answer.ok;
  } catch {
    throw new Away("no answer");
  }
}

export async function get<T>(path: string, signal?: AbortSignal): Promise<T> {
  const answer = await open(path, signal ? { signal } : {});
  return (await answer.json()) as T;
}

/** Sends a body as JSON; a note says why, for the audit. */
export async function send<T>(method: "POST" | "PUT" | "PATCH" | "DELETE", path: string, body?: unknown, note = ""): Promise<T> {
  const type = method === "PATCH" ? "application/merge-patch+json" : "application/json";
  const why: Record<string, string> = note === "" ? {} : { "laneway-note": encodeURIComponent(note) };
  const init: RequestInit = { method, headers: why };
  if (body !== undefined) {
    init.body = JSON.stringify(body);
    init.headers = { "content-type": type, ...why };
  }
  const answer = await open(path, init);
  return (answer.status === 204 ? undefined : await answer.json()) as T;
}

export function collectionPath(plural: Plural, object: { metadata: { namespace?: string } }): string {
  return `/namespaces/${encodeURIComponent(object.metadata.namespace ?? "default")}/${plural}`;
}

export function objectPath(plural: Plural, object: { metadata: { name: string; namespace?: string } }): string {
  return `${collectionPath(plural, object)}/${encodeURIComponent(object.metadata.name)}`;
}
