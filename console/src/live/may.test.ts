import { expect, it } from "vitest";
import type { Session } from "../api/client";
import { may } from "./may";

const session = (...grants: Session["grants"]): Session => ({ author: { kind: "user", name: "alice" }, grants, mustChangePassword: false });

it("a role includes those before it, where it was granted", () => {
  const both = session({ role: "operator", namespace: "shop" }, { role: "viewer", namespace: "*" });
  expect(may(both, "operator", "shop")).toBe(true);
  expect(may(both, "viewer", "shop")).toBe(true);
  expect(may(both, "admin", "shop")).toBe(false);
  expect(may(both, "operator", "other")).toBe(false);
  expect(may(both, "viewer", "other")).toBe(true);
  expect(may(session({ role: "admin", namespace: "shop" }), "viewer", "*")).toBe(false);
  expect(may(session({ role: "admin" }), "admin", "*")).toBe(true);
});
