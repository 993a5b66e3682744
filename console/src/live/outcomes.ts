// What became of switching lanes on and off here, for whoever shows the lane: how far it is, and how long it took.
import { useSyncExternalStore } from "react";
import type { Lane } from "../api/client";

export interface Outcome {
  isOn: boolean;
  /** `metadata.generation` of the lane as it was written; none before it is. */
  generation?: number;
  acknowledged?: number;
  all?: number;
  /** From the click until all data planes had it; none before they have. */
  milliseconds?: number;
}

let outcomes: ReadonlyMap<string, Outcome> = new Map();
const listeners = new Set<() => void>();

function keyOf(lane: Lane): string {
  return lane.metadata.uid ?? `${lane.metadata.namespace ?? "default"}/${lane.metadata.name}`;
}

/** Notes how far it is; undefined: nothing came of it. */
export function note(lane: Lane, outcome: Outcome | undefined) {
  const next = new Map(outcomes);
  if (outcome) next.set(keyOf(lane), outcome);
  else next.delete(keyOf(lane));
  outcomes = next;
  for (const listener of listeners) listener();
}

/** What was last noted of a lane, unless the lane has been changed since, by whomever. */
export function outcomeOf(lane: Lane): Outcome | undefined {
  const outcome = outcomes.get(keyOf(lane));
  const isPast = outcome?.generation !== undefined && (lane.metadata.generation ?? 0) > outcome.generation;
  return isPast ? undefined : outcome;
}

function subscribe(listener: () => void) {
  listeners.add(listener);
  return () => listeners.delete(listener);
}

export function useOutcome(lane: Lane): Outcome | undefined {
  return useSyncExternalStore(subscribe, () => outcomeOf(lane));
}
