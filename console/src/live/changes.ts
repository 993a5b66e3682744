// Changes of lanes: sent, and followed until every data plane that needs them has them.
import { Away, type Kinds, type Lane, type LaneGroup, type Plural, Refused, collectionPath, get, objectPath, send } from "../api/client";
import { switched, tagOf } from "../logic/lanes";
import { toast } from "../parts/toasts";
import { t } from "../words";
import { lost } from "./connection";
import { note } from "./outcomes";
import { keyOf, watchOf } from "./watch";

/** How long it is said that data planes are still on the way. */
const FOLLOWED_MS = 15_000;

export function words(error: unknown): string {
  if (error instanceof Refused) {
    const findings = error.errors.map((it) => `${it.field}: ${it.value ? `\`${it.value}\`: ` : ""}${it.remedy}`);
    return findings.length > 0 ? findings.join("\n") : error.detail || error.message;
  }
  if (error instanceof HalfCreated || error instanceof Unsure) return error.message;
  return error instanceof Away ? t("The control plane does not answer. Nothing was changed.") : String(error);
}

export function failed(title: string, error: unknown) {
  if (error instanceof Away) lost(true);
  toast({ mood: "bad", title, text: words(error) });
}

async function patchLane(lane: Lane, patch: object): Promise<Lane> {
  return send<Lane>("PATCH", objectPath("lanes", lane), patch);
}

/**
 * Changes a lane from what it is now, not from what it was when a page showed it: a list in a patch replaces the whole
 * list, whoever else has written it. The version is sent along; where the lane has changed all the same, once more.
 */
export async function patchFrom(shown: Lane, patchOf: (now: Lane) => object): Promise<Lane> {
  const now = watchOf("lanes").snapshot().objects.find((it) => keyOf(it) === keyOf(shown)) ?? shown;
  const write = (lane: Lane) => patchLane(lane, { ...patchOf(lane), metadata: { resourceVersion: lane.metadata.resourceVersion } });
  try {
    return await write(now);
  } catch (error) {
    if (!(error instanceof Refused && error.status === 409)) throw error;
    const fresh = await get<Lane>(objectPath("lanes", now));
    // One of this name that is another lane is not the one that was meant.
    if (fresh.metadata.uid !== now.metadata.uid) throw error;
    return write(fresh);
  }
}

/** A lane of a group that was created for it could not be, and the group stands. */
export class HalfCreated extends Error {}

/** Nobody answered, neither to what was sent nor to what became of it. */
export class Unsure extends Error {}

/** How long it is waited for what became of something that nobody answered to. */
const ANSWER_MS = 8000;

/**
 * Creates a lane, before it the group that it is to be the first of: only where nothing of their names is there.
 * Without its lane the group is taken back.
 */
export async function createLane(lane: Lane, group?: LaneGroup): Promise<void> {
  const made = group && (await create("lanegroups", group));
  try {
    await create("lanes", lane);
  } catch (error) {
    if (!made) throw error;
    const why = error instanceof Away ? t("The control plane does not answer.") : words(error);
    await remove("lanegroups", made).catch(() => Promise.reject(error instanceof Unsure ? error : new HalfCreated(why)));
    // A group that has a lane is not taken back.
    throw error instanceof Unsure ? new Away(why) : error;
  }
}

/** Creates an object. Where the answer does not come it may be there all the same. */
async function create<P extends Plural>(plural: P, object: Kinds[P]): Promise<Kinds[P]> {
  try {
    return await send<Kinds[P]>("POST", collectionPath(plural, object), object);
  } catch (error) {
    if (error instanceof Away) return whatBecameOf(plural, object, error);
    throw error;
  }
}

/** What was to be created, if it is there. */
async function whatBecameOf<P extends Plural>(plural: P, object: Kinds[P], away: Away): Promise<Kinds[P]> {
  let found: Kinds[P];
  try {
    found = await get<Kinds[P]>(objectPath(plural, object), AbortSignal.timeout(ANSWER_MS));
  } catch (error) {
    const isAbsent = error instanceof Refused && error.status === 404;
    throw isAbsent ? away : new Unsure(t("The control plane does not answer. Look at what is there when it does."));
  }
  if (says(found.spec, object.spec)) return found;
  throw new Refused(409, "exists", t("Something else named {x} exists.", { x: object.metadata.name }), []);
}

/** Whether everything that was sent is in what is there, beside what the control plane has added. */
function says(found: unknown, sent: unknown): boolean {
  if (typeof sent !== "object" || sent === null) return found === sent;
  if (typeof found !== "object" || found === null) return false;
  if (Array.isArray(sent) && !(Array.isArray(found) && found.length === sent.length)) return false;
  const there = found as Record<string, unknown>;
  return Object.entries(sent).every(([name, value]) => value === undefined || says(there[name], value));
}

/** Deletes an object as it was seen. */
export function remove(plural: Plural, object: Kinds[Plural]): Promise<void> {
  const version = object.metadata.resourceVersion;
  return send("DELETE", `${objectPath(plural, object)}${version ? `?resourceVersion=${encodeURIComponent(version)}` : ""}`);
}

export function replaceLane(lane: Lane): Promise<Lane> {
  return send<Lane>("PUT", objectPath("lanes", lane), lane);
}

/** Waits until the lane as written here is live on all data planes; tells how far it is. */
function follow(written: Lane, tell: (live: { acknowledged: number; all: number }, isDone: boolean) => void) {
  const generation = written.metadata.generation ?? 0;
  const watch = watchOf("lanes");
  const look = () => {
    const lane = watch.snapshot().objects.find((it) => keyOf(it) === keyOf(written));
    const live = lane?.status?.live;
    if (!live || (live.observedGeneration ?? 0) < generation) return;
    const isDone = live.acknowledged >= live.dataPlanes - (live.disconnected ?? 0);
    tell({ acknowledged: live.acknowledged, all: live.dataPlanes }, isDone);
    if (isDone) end();
  };
  const stop = watch.subscribe(look);
  const timer = setTimeout(() => end(), FOLLOWED_MS);
  function end() {
    clearTimeout(timer);
    stop();
  }
  queueMicrotask(look);
}

/** How far a change is; `milliseconds` once all have it. */
interface Progress {
  acknowledged: number;
  all: number;
  milliseconds?: number;
}

/** Makes a change of one lane at once; `begin` says so, and what it returns how far it is. Says whether it was made. */
async function change(lane: Lane, write: () => Promise<Lane>, begin: (written: Lane) => (progress: Progress) => void): Promise<boolean> {
  const began = performance.now();
  try {
    const written = await write();
    const tell = begin(written);
    follow(written, (live, isDone) => tell(isDone ? { ...live, milliseconds: Math.round(performance.now() - began) } : live));
    return true;
  } catch (error) {
    failed(t("{x} stays as it was", { x: `${lane.spec.group}/${tagOf(lane)}` }), error);
    return false;
  }
}

/** Tells of a change at the edge, with what became of it and a way back. */
function toasted(title: string, consequence: string, undo: () => void): (progress: Progress) => void {
  const tell = toast({ mood: "wait", title, text: consequence, undo });
  return ({ acknowledged, all, milliseconds }) => {
    const where = t("Live on {n} of {all} data planes", { n: acknowledged, all });
    tell(milliseconds === undefined ? { mood: "wait", text: where } : { mood: "ok", text: `${where}, ${milliseconds} ms` });
  };
}

/** Switches a lane on or off. Off is the roll back: all its requests go to base. `isToldHere`: the page itself tells the outcome. */
export async function setEnabled(lane: Lane, isOn: boolean, isToldHere = false) {
  const name = `${lane.spec.group}/${tagOf(lane)}`;
  note(lane, { isOn });
  const isMade = await change(
    lane,
    () => patchLane(lane, { spec: { enabled: isOn } }),
    (written) => {
      const { generation = 0 } = written.metadata;
      note(lane, { isOn, generation });
      const title = t(isOn ? "{x} is enabled" : "{x} is disabled", { x: name });
      const consequence = t(isOn ? "Matching requests enter the lane." : "All its requests go to base.");
      const tell = isToldHere ? undefined : toasted(title, consequence, () => void setEnabled(lane, !isOn));
      return (progress) => {
        note(lane, { isOn, generation, ...progress });
        tell?.(progress);
      };
    },
  );
  if (!isMade) note(lane, undefined);
}

/** Closes the entrances to a lane, or opens them again. Who is in it stays either way. */
export async function setPaused(lane: Lane, isPaused: boolean) {
  const name = `${lane.spec.group}/${tagOf(lane)}`;
  await change(
    lane,
    () => patchLane(lane, { spec: { entry: { paused: isPaused } } }),
    () => toasted(t(isPaused ? "{x} is paused" : "{x} is resumed", { x: name }), pausedText(lane, isPaused), () => void setPaused(lane, !isPaused)),
  );
}

/** What being paused, or not, means for requests. */
export function pausedText(lane: Lane, isPaused: boolean): string {
  if (!isPaused) return t("Matching requests enter the lane.");
  const { ratio } = lane.spec.entry;
  return ratio ? t("No request enters at the entrances: its {n} % go to base. Requests in the lane stay in it.", { n: ratio.percent }) : t("No request enters at the entrances. Requests in the lane stay in it.");
}

export function setApplication(lane: Lane, application: string, isOn: boolean) {
  const name = `${application} · ${lane.spec.group}/${tagOf(lane)}`;
  return change(
    lane,
    () => patchFrom(lane, (now) => ({ spec: { applications: switched(now, application, isOn) } })),
    () =>
      toasted(
        t(isOn ? "{x} is enabled" : "{x} is disabled", { x: name }),
        isOn ? t("Its tagged instances serve its hop again.") : t("Its hop uses the fallback, as if the lane had no instance of it."),
        () => void setApplication(lane, application, !isOn),
      ),
  );
}
