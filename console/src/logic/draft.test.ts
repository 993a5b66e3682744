// A rule as typed, and as written.
import { describe, expect, it } from "vitest";
import type { Entry } from "../api/client";
import { shellWords } from "./curl";
import { FRESH, entering, fresh, fromEntry, isWhole, lackOf, lackOfRatio, toEntry, withOperator } from "./draft";

describe("what is there comes back as it was", () => {
  const entries: Entry[] = [
    { content: { meet: "all", conditions: [{ header: "canary", operator: "==", value: "gray" }] } },
    { content: { meet: "any", conditions: [{ query: "user", operator: "in", values: ["7", "8"] }, { cookie: "uid", operator: "percentage", value: 20 }] } },
    { content: { meet: "all", conditions: [{ attribute: "path", operator: "prefix", value: "/beta" }, { header: "x", operator: "exists" }] } },
    { content: { meet: "all", conditions: [{ header: "x", operator: "in", values: ["a,b", " c ", "", "d, e"] }, { header: "y", operator: "notIn", values: [""] }] } },
    { content: { meet: "all", conditions: [{ claim: "sub", operator: "==", value: "li" }, { header: "x", query: null, operator: "==", value: "1", values: null }] } },
    { ratio: { percent: 12.5 } },
    { ratio: { percent: 30, stickyBy: { header: "x-user" } } },
    { ratio: { percent: 30, stickyBy: { attribute: "clientIp" } } },
    { ratio: { percent: 30, stickyBy: { cookie: "place", issue: { maxAge: "30d", secure: true, sameSite: "none", onPublicAnswers: false } } } },
  ];
  it.each(entries.map((it) => [JSON.stringify(it), it] as const))("%s", (_, entry) => {
    expect(toEntry(fromEntry(entry))).toEqual(entry);
    expect(isWhole(fromEntry(entry), 0)).toBe(true);
  });
});

it.each([
  [FRESH, "name"],
  [{ ...FRESH, name: "x" }, "value"],
  [{ ...FRESH, name: "x", operator: "exists" as const }, undefined],
  [{ ...FRESH, name: "x", operator: "in" as const, value: " \n" }, "list"],
  [{ ...FRESH, name: "x", operator: "percentage" as const, value: "101" }, "percentage"],
  // Lanes take what JavaScript would not: whether it compiles the API says.
  [{ ...FRESH, name: "x", operator: "regex" as const, value: "(?i)gray" }, undefined],
  [{ ...FRESH, name: "x", operator: "regex" as const, value: "" }, "value"],
  [{ ...FRESH, parameter: "path" as const, value: "/a" }, undefined],
])("%j lacks %s", (condition, lack) => {
  expect(lackOf(condition)).toBe(lack);
});

it("ratios are percentages that add up to at most 100", () => {
  const of = (percent: string) => ({ ...fresh("ratio"), percent });
  for (const percent of ["", "x", "-1", "101", "1.234", "1e1"]) expect(lackOfRatio(of(percent), 0)).toBe("percent");
  expect(lackOfRatio(of("40"), 60)).toBeUndefined();
  expect(lackOfRatio(of("40.01"), 60)).toBe("sum");
  expect(lackOfRatio({ ...of("5"), sticky: "header" }, 0)).toBe("key");
  expect(isWhole({ ...of("5"), sticky: "clientIp" }, 0)).toBe(true);
});

it("a cookie alone can be issued", () => {
  const draft = { ...fresh("ratio"), sticky: "cookie" as const, stickyName: "place", issue: {} };
  expect(toEntry(draft)).toEqual({ ratio: { percent: 5, stickyBy: { cookie: "place", issue: {} } } });
  expect(toEntry({ ...draft, sticky: "header" })).toEqual({ ratio: { percent: 5, stickyBy: { header: "place" } } });
});

it("says the request that enters, where a command can", () => {
  const of = (...conditions: (typeof FRESH)[]) => entering({ ...fresh("content"), conditions }, "http://g");
  expect(of({ ...FRESH, name: "canary", value: "gray" })).toBe("curl -H 'canary: gray' http://g");
  expect(of({ ...FRESH, parameter: "query", name: "u", operator: "in", value: "7\n8" }, { ...FRESH, parameter: "path", value: "/a" })).toBe("curl 'http://g/a?u=7'");
  expect(of({ ...FRESH, name: "x", operator: "regex", value: "a.*" })).toBeUndefined();
});

it("the request that enters is one command, whatever a lane's author wrote", () => {
  const of = (condition: Partial<typeof FRESH>) => entering({ ...fresh("content"), conditions: [{ ...FRESH, ...condition }] }, "http://g");
  const nasty = "x'; touch /tmp/pwned; echo '$(id)`id`\\";
  expect(shellWords(of({ name: "canary", value: nasty }) ?? "")).toEqual(["curl", "-H", `canary: ${nasty}`, "http://g"]);
  expect(shellWords(of({ name: "a' b", value: "1" }) ?? "")).toEqual(["curl", "-H", "a' b: 1", "http://g"]);
  expect(shellWords(of({ parameter: "cookie", name: "uid", value: nasty }) ?? "")).toEqual(["curl", "-b", `uid=${nasty}`, "http://g"]);
  expect(shellWords(of({ parameter: "query", name: "u", value: "it's" }) ?? "")).toEqual(["curl", "http://g?u=it's"]);
  expect(shellWords(of({ parameter: "path", value: "/a'b;c" }) ?? "")).toEqual(["curl", "http://g/a'b;c"]);
  // Another host, several URLs, an escape that ends a pasted text: no command at all.
  for (const value of ["@evil.example/", "/{a,b}", "/[1-99]", "/a\nid"]) expect(of({ parameter: "path", value })).toBeUndefined();
  for (const value of ["a\nid", "\u001b[201~id"]) expect(of({ name: "canary", value })).toBeUndefined();
});

it("a list that is edited keeps the values that nobody touched", () => {
  const draft = fromEntry({ content: { meet: "all", conditions: [{ header: "x", operator: "in", values: ["a,b", " c "] }] } });
  const [first] = draft.conditions;
  const edited = { ...draft, conditions: [{ ...FRESH, ...first, value: `${first?.value ?? ""}\nd\n` }] };
  expect(toEntry(edited).content?.conditions).toEqual([{ header: "x", operator: "in", values: ["a,b", " c ", "d"] }]);
  expect(withOperator({ ...FRESH, operator: "in", value: "7\n8" }, "==")).toEqual({ operator: "==", value: "7" });
  expect(withOperator({ ...FRESH, operator: "in", value: "7\n8" }, "notIn")).toEqual({ operator: "notIn" });
});
