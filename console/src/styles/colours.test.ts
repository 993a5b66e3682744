// The colours of tokens.css: text can be read on every ground it is used on, graphics seen, and lanes told apart by
// every kind of colour vision. The bounds are those of WCAG 2.2 (1.4.3, 1.4.11).
import { readFileSync } from "node:fs";
import { describe, expect, it } from "vitest";

const css = readFileSync(new URL("./tokens.css", import.meta.url), "utf8");
const TEXT_MIN = 4.5;
const GRAPHIC_MIN = 3;
/** In OKLab × 100; Okabe and Ito's eight reach 7.6. */
const APART_MIN = 6;

type Triple = [number, number, number];

function tokens(theme: string): Record<string, string> {
  const from = css.indexOf(`[data-theme="${theme}"] {`);
  const block = css.slice(from, css.indexOf("}", from));
  return Object.fromEntries([...block.matchAll(/--([\w-]+):\s*(#[0-9a-f]{6})/g)].map((it) => [it[1] ?? "", it[2] ?? ""]));
}

function linear(hex: string): Triple {
  const channel = (at: number) => {
    const value = parseInt(hex.slice(at, at + 2), 16) / 255;
    return value <= 0.04045 ? value / 12.92 : ((value + 0.055) / 1.055) ** 2.4;
  };
  return [channel(1), channel(3), channel(5)];
}

function times(rows: readonly Triple[], [x, y, z]: Triple): Triple {
  return rows.map(([a, b, c]) => a * x + b * y + c * z) as Triple;
}

function contrast(a: string, b: string): number {
  const light = (hex: string) => times([[0.2126, 0.7152, 0.0722]], linear(hex))[0];
  const [low, high] = [light(a), light(b)].sort((x, y) => x - y) as [number, number];
  return (high + 0.05) / (low + 0.05);
}

function oklab(rgb: Triple): Triple {
  const lms = times(
    [
      [0.4122214708, 0.5363325363, 0.0514459929],
      [0.2119034982, 0.6806995451, 0.1073969566],
      [0.0883024619, 0.2817188376, 0.6299787005],
    ],
    rgb,
  ).map(Math.cbrt) as Triple;
  return times(
    [
      [0.2104542553, 0.793617785, -0.0040720468],
      [1.9779984951, -2.428592205, 0.4505937099],
      [0.0259040371, 0.7827717662, -0.808675766],
    ],
    lms,
  );
}

/** Machado, Oliveira and Fernandes (2009), severity 1, on linear light. */
const VISION: Record<string, Triple[]> = {
  normal: [[1, 0, 0], [0, 1, 0], [0, 0, 1]],
  protan: [[0.152286, 1.052583, -0.204868], [0.114503, 0.786281, 0.099216], [-0.003882, -0.048116, 1.051998]],
  deutan: [[0.367322, 0.860646, -0.227968], [0.280085, 0.672501, 0.047413], [-0.01182, 0.04294, 0.968881]],
  tritan: [[1.255528, -0.076749, -0.178779], [-0.078411, 0.930809, 0.147602], [0.004733, 0.691367, 0.3039]],
};

const lanes = ["lane-base", ...[1, 2, 3, 4, 5, 6, 7, 8].map((number) => `lane-${number}`)];
const states = ["ok", "warn", "bad", "info"];
const text: [string, string][] = [
  ...["ink", "ink-2", "ink-3"].flatMap((it) => ["bg", "surface", "surface-2", "surface-3"].map((ground): [string, string] => [it, ground])),
  ["accent", "surface"],
  ["accent", "bg"],
  ["on-ink", "ink"],
  ["on-ink", "ink-hover"],
  ["on-bad", "bad-solid"],
  ["on-bad", "bad-solid-hover"],
  ...states.flatMap((it): [string, string][] => [[it, "surface"], [it, "bg"], [it, `${it}-soft`], ["ink", `${it}-soft`], ["ink-2", `${it}-soft`]]),
  ...lanes.flatMap((it): [string, string][] => [["ink", `${it}-soft`], ["ink-2", `${it}-soft`]]),
];
const graphics: [string, string][] = [
  ["control-line", "surface"],
  ["control-line", "bg"],
  ["focus", "surface"],
  ["focus", "bg"],
  ...lanes.flatMap((it): [string, string][] => [[it, "surface"], [it, "bg"], [it, `${it}-soft`]]),
];

describe.each(["light", "dark"])("%s", (theme) => {
  const of = tokens(theme);
  const colour = (name: string) => of[name] ?? expect.fail(`no token ${name}`);
  it.each(text)("text %s on %s", (front, ground) => {
    expect(contrast(colour(front), colour(ground))).toBeGreaterThanOrEqual(TEXT_MIN);
  });
  it.each(graphics)("%s seen on %s", (front, ground) => {
    expect(contrast(colour(front), colour(ground))).toBeGreaterThanOrEqual(GRAPHIC_MIN);
  });
  it.each(Object.entries(VISION))("lanes are told apart by %s vision", (_, matrix) => {
    const seen = (name: string) => oklab(times(matrix, linear(colour(name))).map((it) => Math.min(1, Math.max(0, it))) as Triple);
    for (const [index, a] of lanes.entries()) {
      for (const b of lanes.slice(index + 1)) {
        const [x, y] = [seen(a), seen(b)];
        const apart = 100 * Math.hypot(x[0] - y[0], x[1] - y[1], x[2] - y[2]);
        expect(apart, `${a} and ${b}`).toBeGreaterThanOrEqual(APART_MIN);
      }
    }
  });
});
