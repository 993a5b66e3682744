// Single requests while they pass: one stream, for as long as the page that began it is seen. What is kept is bounded, and
// what comes together is painted once.
import { Away, type TapEvent, type TapStatus, type TappedRequest, open } from "../api/client";
import { t } from "../words";
import { words } from "./changes";
import { lines } from "./lines";

/** Requests that are kept: as many as somebody scrolls back through. */
export const KEPT_MAX = 200;

const PAINTED_EVERY_MS = 250;

/** What is asked for; `lane` is a tag, or `base`. */
export interface Wanted {
  group: string;
  lane: string;
  application?: string | undefined;
  rate?: string | undefined;
}

/** A request as it came: its number tells it apart, since one id may come twice. */
export interface Numbered {
  number: number;
  request: TappedRequest;
}

export interface Tapped {
  /** Which beginning this is. */
  run: number;
  state: "off" | "starting" | "on";
  /** Why it is over, where nobody here has ended it. */
  why?: string | undefined;
  status?: TapStatus | undefined;
  /** The latest first. */
  requests: readonly Numbered[];
  /** How many came since it began, those included that are no longer kept. */
  count: number;
}

const NOTHING: Tapped = { run: 0, state: "off", requests: [], count: 0 };

let runs = 0;

export function question({ group, lane, application, rate }: Wanted): string {
  const of = new URLSearchParams({ group, lane, ...(application ? { application } : {}), ...(rate ? { rate } : {}) });
  return `/tap?${of.toString()}`;
}

/** With what came since; pure. */
export function withEvents(known: Tapped, events: readonly TapEvent[]): Tapped {
  const came = events.flatMap((it) => (it.request ? [it.request] : []));
  const status = events.flatMap((it) => (it.status ? [it.status] : [])).at(-1) ?? known.status;
  const numbered = came.map((request, at) => ({ number: known.count + at + 1, request })).reverse();
  return { ...known, state: "on", status, requests: [...numbered, ...known.requests].slice(0, KEPT_MAX), count: known.count + came.length };
}

export class Tap {
  private now = NOTHING;
  private came: TapEvent[] = [];
  private running: AbortController | undefined;
  private timer: ReturnType<typeof setTimeout> | undefined;
  private readonly listeners = new Set<() => void>();

  readonly snapshot = () => this.now;

  readonly subscribe = (listener: () => void) => {
    this.listeners.add(listener);
    document.addEventListener("visibilitychange", this.hidden);
    return () => {
      this.listeners.delete(listener);
      document.removeEventListener("visibilitychange", this.hidden);
      this.stop();
    };
  };

  start(wanted: Wanted) {
    this.stop();
    const running = new AbortController();
    this.running = running;
    this.set({ ...NOTHING, run: ++runs, state: "starting" });
    void this.follow(question(wanted), running.signal);
  }

  stop(why?: string) {
    this.running?.abort();
    this.running = undefined;
    clearTimeout(this.timer);
    this.timer = undefined;
    this.came = [];
    if (this.now.state !== "off") this.set({ ...this.now, state: "off", why });
  }

  /** Nobody looks: others' requests are not kept coming for nobody. */
  private readonly hidden = () => {
    if (document.hidden) this.stop(t("It ended when this tab was left."));
  };

  private async follow(path: string, signal: AbortSignal) {
    let why = t("The control plane has ended it.");
    try {
      const answer = await open(path, { signal });
      if (!answer.body) throw new Away("no body");
      for await (const line of lines(answer.body)) {
        if (signal.aborted) return;
        const event = JSON.parse(line) as TapEvent;
        if (event.ended) why = event.ended;
        this.came.push(event);
        this.timer ??= setTimeout(this.paint, PAINTED_EVERY_MS);
      }
    } catch (error) {
      why = error instanceof Away ? t("The control plane does not answer.") : words(error);
    }
    if (signal.aborted) return;
    this.paint();
    this.stop(why);
  }

  private readonly paint = () => {
    this.timer = undefined;
    const came = this.came;
    this.came = [];
    if (came.length > 0) this.set(withEvents(this.now, came));
  };

  private set(next: Tapped) {
    this.now = next;
    for (const listener of this.listeners) listener();
  }
}
