// Objects of one kind as they are now, followed over one stream for all who look. A stream that breaks off goes on from
// the last state it told; where the history no longer reaches back it begins anew and changes nothing on the page until
// it is whole. A tab that is hidden listens to nothing: browsers give a site six connections, for all its tabs.
import { Away, type Kinds, type Plural, Refused, open } from "../api/client";
import { mustSignIn, onSession } from "../api/session";
import { connection, heard, lost, onConnection, pause } from "./connection";
import { lines } from "./lines";
import { shareConnections } from "./windows";

export interface Seen<T> {
  /** By namespace/name, in order of creation. */
  objects: readonly T[];
  /** Everything was told at least once. */
  ready: boolean;
}

interface Event<T> {
  type: "ADDED" | "MODIFIED" | "DELETED" | "SYNCED";
  resourceVersion: string;
  object?: T | null;
}

type Named = Kinds[Plural];

/** Another window of the console is in use. */
let isResting = false;

/** How long a stream without listeners stays open: a change of page goes on with it. */
const LINGER_MS = 2000;
const RETRY_MS = [250, 500, 1000, 2000];

export function keyOf(object: Named): string {
  return `${object.metadata.namespace ?? "default"}/${object.metadata.name}`;
}

/** What is known after one more event. Pure, so that it is tested by itself. */
export function take<T extends Named>(known: ReadonlyMap<string, T>, event: Event<T>): Map<string, T> {
  const next = new Map(known);
  if (event.object) {
    if (event.type === "DELETED") next.delete(keyOf(event.object));
    else next.set(keyOf(event.object), event.object);
  }
  return next;
}

class Watch<T extends Named> {
  private known = new Map<string, T>();
  private version: string | undefined;
  private seen: Seen<T> = { objects: [], ready: false };
  private readonly listeners = new Set<() => void>();
  private running: AbortController | undefined;
  private linger: ReturnType<typeof setTimeout> | undefined;
  private isTelling = false;
  private hasHeard = false;

  constructor(private readonly plural: Plural) {}

  readonly snapshot = () => this.seen;

  readonly subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    clearTimeout(this.linger);
    this.start();
    return () => {
      this.listeners.delete(listener);
      if (this.listeners.size === 0) this.linger = setTimeout(() => this.stop(), LINGER_MS);
    };
  };

  wake() {
    if (this.listeners.size > 0) this.start();
  }

  stop() {
    this.running?.abort();
    this.running = undefined;
  }

  /** What it follows is there, since it follows it: all of it, or from the last state on. */
  isTold() {
    return !this.running || this.hasHeard;
  }

  private start() {
    if (this.running || document.hidden || isResting || mustSignIn()) return;
    this.hasHeard = false;
    this.running = new AbortController();
    void this.follow(this.running.signal);
  }

  private async follow(signal: AbortSignal) {
    let tries = 0;
    while (!signal.aborted) {
      try {
        await this.listen(signal, () => (tries = 0));
        lost();
      } catch (error) {
        if (signal.aborted) return;
        if (error instanceof Refused && error.status === 410) this.version = undefined;
        else if (error instanceof Refused && error.status === 401) return this.stop();
        else lost();
      }
      await pause(RETRY_MS[Math.min(tries++, RETRY_MS.length - 1)] ?? 0, signal);
    }
  }

  private async listen(signal: AbortSignal, onHeard: () => void) {
    const from = this.version === undefined ? "" : `&resourceVersion=${encodeURIComponent(this.version)}`;
    const answer = await open(`/${this.plural}?watch=true${from}`, { signal });
    if (!answer.body) throw new Away("no body");
    heard();
    onHeard();
    const isAnew = this.version === undefined;
    let anew = new Map<string, T>();
    let isWhole = !isAnew;
    this.hasHeard = isWhole;
    for await (const line of lines(answer.body)) {
      const event = JSON.parse(line) as Event<T>;
      heard();
      if (isWhole) {
        this.known = take(this.known, event);
      } else if (event.type === "SYNCED") {
        [this.known, isWhole] = [anew, true];
        this.hasHeard = true;
      } else {
        anew = take(anew, event);
      }
      if (isWhole) {
        this.version = event.resourceVersion;
        this.tell();
      }
    }
  }

  /** Many events of one moment are painted once. */
  private tell() {
    if (this.isTelling) return;
    this.isTelling = true;
    queueMicrotask(() => {
      this.isTelling = false;
      this.seen = { objects: [...this.known.values()], ready: true };
      for (const listener of this.listeners) listener();
    });
  }
}

const watches = {
  lanegroups: new Watch<Kinds["lanegroups"]>("lanegroups"),
  lanes: new Watch<Kinds["lanes"]>("lanes"),
  gateways: new Watch<Kinds["gateways"]>("gateways"),
  httproutes: new Watch<Kinds["httproutes"]>("httproutes"),
  grpcroutes: new Watch<Kinds["grpcroutes"]>("grpcroutes"),
};

export function watchOf<P extends Plural>(plural: P): Watch<Kinds[P]> {
  return watches[plural] as unknown as Watch<Kinds[P]>;
}

/** Whether everything that is followed was told, since it is followed. */
export function isAllTold(): boolean {
  return Object.values(watches).every((it) => it.isTold());
}

/** Tabs that nobody looks at let go, and go on where they were. */
export function followTheTab() {
  document.addEventListener("visibilitychange", () => {
    for (const watch of Object.values(watches)) {
      if (document.hidden) watch.stop();
      else watch.wake();
    }
  });
  shareConnections((rests) => {
    isResting = rests;
    for (const watch of Object.values(watches)) {
      if (rests) watch.stop();
      else watch.wake();
    }
  }, isAllTold);
  // A stream whose other end went without a word never says so: after an absence all begin anew, from where they were.
  let wasAway = false;
  onConnection(() => {
    const { away } = connection();
    if (wasAway && !away) {
      for (const watch of Object.values(watches)) {
        watch.stop();
        watch.wake();
      }
    }
    wasAway = away;
  });
  onSession(() => {
    for (const watch of Object.values(watches)) {
      if (mustSignIn()) watch.stop();
      else watch.wake();
    }
  });
}
