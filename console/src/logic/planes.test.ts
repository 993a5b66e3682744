// Everything a data plane tells is a line of the status page.
import { expect, it } from "vitest";
import type { DataPlane } from "../api/client";
import { remarks } from "./planes";

const plane: DataPlane = { node: "n", role: "sidecar", name: "shop", version: "1", connected: true, sinceSeconds: 1, sent: 1, acknowledged: 1, behindMs: 0, subscriptions: 0 };

it("leaves nothing out", () => {
  const told: DataPlane = {
    ...plane,
    refused: [{ key: "lane/a", reason: "too new" }],
    notListening: ["https: no certificate"],
    unreachable: ["10.0.0.9:80"],
    unread: [{ service: "pay", protocol: "tls", connections: 2 }],
    undeclared: [{ address: "10.0.0.7:9090", applications: ["pay", "stock"], connections: 3 }],
  };
  expect(remarks(told)).toEqual([
    "lane/a: too new",
    "https: no certificate",
    "cannot reach 10.0.0.9:80",
    "calls pay in tls, unread and outside lanes",
    "calls 10.0.0.7:9090, a port of pay, stock that nobody has declared, past the lanes (3 connections)",
  ]);
  expect(remarks(plane)).toEqual([]);
});
