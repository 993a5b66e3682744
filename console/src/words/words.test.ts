// Every text has its Chinese, with the same places to fill, and none is there that nobody says.
import { readFileSync, readdirSync } from "node:fs";
import { expect, it } from "vitest";
import { fill } from ".";
import { zh } from "./zh";

const places = (text: string) => [...text.matchAll(/\{\w+\}/g)].map((it) => it[0]).sort();

it.each(Object.entries(zh))("%s", (english, chinese) => {
  expect(chinese).not.toBe("");
  expect(places(chinese)).toEqual(places(english));
});

it("no text is left over", () => {
  const folder = new URL("..", import.meta.url);
  const files = readdirSync(folder, { recursive: true, encoding: "utf8" }).filter((it) => /\.tsx?$/.test(it) && !it.endsWith("zh.ts"));
  const source = files.map((it) => readFileSync(new URL(it, folder), "utf8")).join("\n");
  expect(Object.keys(zh).filter((it) => !source.includes(JSON.stringify(it)))).toEqual([]);
});

it("fills what is given and leaves what is not", () => {
  expect(fill("{n} of {all}, {x}", { n: 1, all: 2 })).toBe("1 of 2, {x}");
});
