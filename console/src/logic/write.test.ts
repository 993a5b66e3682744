// What a change writes, read back.
import { expect, it } from "vitest";
import { parseAllDocuments } from "yaml";
import type { Lane } from "../api/client";
import { applyCommand, deleteCommand, laneCommand, word, yaml } from "./write";

const lane: Lane = {
  apiVersion: "laneway.io/v1alpha1",
  kind: "Lane",
  metadata: { name: "trade-gray", namespace: "default", resourceVersion: "7", generation: 3, uid: "u", creationTimestamp: "2026-01-01T00:00:00Z" },
  spec: { group: "trade", tag: "gray", entry: { content: { meet: "all", conditions: [{ header: "canary", query: null, operator: "==", value: "yes" }] }, ratio: null } },
  status: { matched: [] },
};

it("writes what people write, and nothing the control plane counts", () => {
  const [document] = parseAllDocuments(yaml([lane])).map((it) => it.toJS() as unknown);
  expect(document).toEqual({
    apiVersion: "laneway.io/v1alpha1",
    kind: "Lane",
    metadata: { name: "trade-gray" },
    spec: { group: "trade", tag: "gray", entry: { content: { meet: "all", conditions: [{ header: "canary", operator: "==", value: "yes" }] } } },
  });
});

it("keeps texts texts: what YAML would read as something else is quoted", () => {
  for (const value of ["yes", "true", "007", "1e3", "null", "~", "a: b", "# x", "'", '"', "", " x ", "2026-01-01"]) {
    const of = { ...lane, spec: { ...lane.spec, entry: { content: { conditions: [{ header: "h", operator: "==", value }] } } } };
    const [document] = parseAllDocuments(yaml([of])).map((it) => it.toJS() as Lane);
    expect(document?.spec.entry.content?.conditions?.[0]?.value).toBe(value);
  }
});

it("says the command that does the same", () => {
  expect(laneCommand(lane, "disable")).toBe("laneway lane disable trade/gray");
  expect(laneCommand({ ...lane, metadata: { name: "x", namespace: "shop" } }, "ratio 5")).toBe("laneway lane ratio trade/gray 5 --namespace shop");
  expect(deleteCommand("lane", lane)).toBe("laneway delete lane trade-gray");
  expect(applyCommand([lane])).toMatch(/^laneway apply -f - <<'EOF'\napiVersion: .*\nEOF$/s);
  expect(word("it's")).toBe(`'it'\\''s'`);
});
