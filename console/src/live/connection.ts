// Whether the control plane answers, and since when figures stand still. Streams and questions report here.

export interface Connection {
  /** Nobody answers; what is shown is what was known then. */
  away: boolean;
  /** When something was heard last. */
  heard: Date;
}

/** A stream that breaks off and is back within this time is nobody's business. */
const GRACE_MS = 3000;

let now: Connection = { away: false, heard: new Date() };
let timer: ReturnType<typeof setTimeout> | undefined;
const listeners = new Set<() => void>();
const waiting = new Set<() => void>();

function set(next: Connection) {
  now = next;
  for (const listener of listeners) listener();
}

export function heard() {
  clearTimeout(timer);
  timer = undefined;
  if (now.away) set({ away: false, heard: new Date() });
  else now = { ...now, heard: new Date() };
}

export function lost(atOnce = false) {
  if (now.away) return;
  const tell = () => {
    timer = undefined;
    set({ away: true, heard: now.heard });
  };
  if (atOnce) {
    clearTimeout(timer);
    tell();
  } else {
    timer ??= setTimeout(tell, GRACE_MS);
  }
}

export function connection(): Connection {
  return now;
}

export function onConnection(listener: () => void): () => void {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

/** Ends every wait before the next try. */
export function tryNow() {
  for (const end of [...waiting]) end();
}

export function pause(milliseconds: number, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const end = () => {
      clearTimeout(clock);
      waiting.delete(end);
      signal.removeEventListener("abort", end);
      resolve();
    };
    const clock = setTimeout(end, milliseconds);
    waiting.add(end);
    signal.addEventListener("abort", end);
  });
}
