// What became of a change, told at the edge: at most three, and an Undo where there is a way back.
import { useSyncExternalStore } from "react";
import { t } from "../words";
import { Icon } from "./icons";
import { Button, type Mood } from "./ui";

export interface Toast {
  mood: Mood;
  title: string;
  text?: string;
  undo?: () => void;
}

const SHOWN_MAX = 3;
const STAYS_MS = 10_000;

let toasts: readonly (Toast & { id: number })[] = [];
let last = 0;
const listeners = new Set<() => void>();

function set(next: typeof toasts) {
  toasts = next;
  for (const listener of listeners) listener();
}

function close(id: number) {
  set(toasts.filter((it) => it.id !== id));
}

/** Shows one; the answer changes its text in place. It leaves when nothing was said for a while. */
export function toast(first: Toast): (next: Partial<Toast>) => void {
  const id = (last += 1);
  let timer: ReturnType<typeof setTimeout>;
  const stay = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      // Not from under the hand of whoever is about to press Undo.
      if (document.querySelector(`[data-toast="${id}"]:is(:hover, :focus-within)`)) stay();
      else close(id);
    }, STAYS_MS);
  };
  set([...toasts, { ...first, id }].slice(-SHOWN_MAX));
  stay();
  return (next) => {
    set(toasts.map((it) => (it.id === id ? { ...it, ...next } : it)));
    stay();
  };
}

export function Toasts() {
  const shown = useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => toasts,
  );
  return (
    <section className="toasts" aria-label={t("Results of changes")} aria-live="polite">
      {shown.map((it) => (
        <div className="toast" key={it.id} data-toast={it.id}>
          <Icon name={it.mood} kind={it.mood} />
          <div>
            <span className="strong">{it.title}</span>
            {it.text && <p>{it.text}</p>}
          </div>
          {it.undo && (
            <Button
              small
              onPress={() => {
                close(it.id);
                it.undo?.();
              }}
            >
              {t("Undo")}
            </Button>
          )}
          <Button look="ghost" small aria-label={t("Dismiss")} onPress={() => close(it.id)}>
            <Icon name="cross" />
          </Button>
        </div>
      ))}
    </section>
  );
}
