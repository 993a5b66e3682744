// Words in two languages. The key is the English text; a text without Chinese does not compile, because `t` takes the keys
// of `zh` alone.
import { useSyncExternalStore } from "react";
import { zh } from "./zh";

export type Text = keyof typeof zh;
export type Language = "en" | "zh";

const KEY = "laneway.language";
const listeners = new Set<() => void>();

function first(): Language {
  const kept = localStorage.getItem(KEY);
  if (kept === "en" || kept === "zh") return kept;
  return navigator.language.startsWith("zh") ? "zh" : "en";
}

let language: Language = typeof localStorage === "undefined" ? "en" : first();

/** A text in the reader's language, with `{name}` replaced. */
export function t(text: Text, values: Record<string, string | number> = {}): string {
  return fill(language === "zh" ? zh[text] : text, values);
}

export function fill(text: string, values: Record<string, string | number>): string {
  return text.replace(/\{(\w+)\}/g, (whole, name: string) => (name in values ? String(values[name]) : whole));
}

/** One thing or several: English tells them apart. */
export function counted(count: number, one: Text, many: Text): string {
  return t(count === 1 ? one : many, { n: count });
}

export function setLanguage(next: Language) {
  language = next;
  localStorage.setItem(KEY, next);
  document.documentElement.lang = next === "zh" ? "zh-CN" : "en";
  for (const listener of listeners) listener();
}

export function useLanguage(): Language {
  return useSyncExternalStore(
    (listener) => {
      listeners.add(listener);
      return () => listeners.delete(listener);
    },
    () => language,
  );
}

export function startLanguage() {
  document.documentElement.lang = language === "zh" ? "zh-CN" : "en";
}

export function time(of: Date): string {
  return of.toLocaleTimeString("en-GB");
}

export function duration(seconds: number): string {
  if (seconds < 60) return t("{n} s", { n: seconds });
  if (seconds < 3600) return t("{n} min", { n: Math.floor(seconds / 60) });
  if (seconds < 86_400) return t("{n} h", { n: Math.floor(seconds / 3600) });
  return t("{n} d", { n: Math.floor(seconds / 86_400) });
}
