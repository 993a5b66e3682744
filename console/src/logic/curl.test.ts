// Curl commands as people paste them.
import { expect, it } from "vitest";
import { readCurl, readHeaders, shellWords } from "./curl";

it.each([
  ["curl http://a/b", { method: "GET", url: "http://a/b", headers: [] }],
  ["curl -H 'canary: gray' 'http://a/b?x=1&y=2'", { method: "GET", url: "http://a/b?x=1&y=2", headers: [{ name: "canary", value: "gray" }] }],
  ['curl -s -X POST -H "A: it\'s" \\\n  --data \'{"x": 1}\' http://a', { method: "POST", url: "http://a", headers: [{ name: "A", value: "it's" }] }],
  ["curl -HX-A:1 -XPUT http://a", { method: "PUT", url: "http://a", headers: [{ name: "X-A", value: "1" }] }],
  ["curl -d x=1 http://a", { method: "POST", url: "http://a", headers: [] }],
  ["curl -b uid=7 -o /dev/null --url http://a -I", { method: "HEAD", url: "http://a", headers: [{ name: "cookie", value: "uid=7" }] }],
])("%s", (text, expected) => {
  expect(readCurl(text)).toEqual(expected);
});

it("what is no curl, or has no address, is nothing", () => {
  for (const text of ["", "wget http://a", "curl", "curl -H 'a: b'"]) expect(readCurl(text)).toBeUndefined();
});

it("words are a shell's", () => {
  expect(shellWords(`a 'b c' "d \\" e" f\\ g h'i'"j"`)).toEqual(["a", "b c", 'd " e', "f g", "hij"]);
});

it("headers are one a line; what has no colon is left out", () => {
  expect(readHeaders("a: 1\n\nnothing\nb:2:3")).toEqual([
    { name: "a", value: "1" },
    { name: "b", value: "2:3" },
  ]);
});
