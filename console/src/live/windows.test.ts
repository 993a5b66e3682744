// Two windows of one browser: only the one that was looked at last follows all the time.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { shareConnections } from "./windows";

class Channel {
  static readonly all: Channel[] = [];
  onmessage: (() => void) | undefined;
  constructor() {
    Channel.all.push(this);
  }
  postMessage() {
    for (const other of Channel.all) if (other !== this) other.onmessage?.();
  }
}

/** A window, whether it rests, and whether it was told everything. */
function open() {
  const target = new EventTarget();
  const it = { rests: false, isTold: true, look: () => void target.dispatchEvent(new Event("focus")) };
  vi.stubGlobal("window", target);
  vi.stubGlobal("document", { hasFocus: () => false });
  shareConnections(
    (isResting) => (it.rests = isResting),
    () => it.isTold,
  );
  return it;
}

beforeEach(() => {
  vi.useFakeTimers();
  vi.stubGlobal("BroadcastChannel", Channel);
});
afterEach(() => {
  vi.useRealTimers();
  vi.unstubAllGlobals();
});

it("rests while another is in use, and looks up now and then", async () => {
  const [first, second] = [open(), open()];
  expect([first.rests, second.rests]).toEqual([false, false]);
  second.look();
  expect([first.rests, second.rests]).toEqual([true, false]);
  await vi.advanceTimersByTimeAsync(5000);
  expect(first.rests).toBe(false);
  await vi.advanceTimersByTimeAsync(1000);
  expect(first.rests).toBe(true);
  // A look at another program is a look at no other window of the console: it goes on.
  await vi.advanceTimersByTimeAsync(60_000);
  expect(second.rests).toBe(false);
  first.look();
  await vi.advanceTimersByTimeAsync(500);
  expect([first.rests, second.rests]).toEqual([false, true]);
  await vi.advanceTimersByTimeAsync(21_500);
  expect([first.rests, second.rests]).toEqual([false, true]);
});

it("looks up until it was told everything, but not for ever", async () => {
  const [first, second] = [open(), open()];
  second.look();
  first.isTold = false;
  await vi.advanceTimersByTimeAsync(5000 + 4500);
  expect(first.rests).toBe(false);
  first.isTold = true;
  await vi.advanceTimersByTimeAsync(500);
  expect(first.rests).toBe(true);
  first.isTold = false;
  await vi.advanceTimersByTimeAsync(5000 + 9500);
  expect(first.rests).toBe(false);
  await vi.advanceTimersByTimeAsync(500);
  expect(first.rests).toBe(true);
  // Whoever is looked at meanwhile stays awake.
  await vi.advanceTimersByTimeAsync(5000);
  first.look();
  await vi.advanceTimersByTimeAsync(60_000);
  expect(first.rests).toBe(false);
});
