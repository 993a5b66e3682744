// What is offered for copying where a tag is missing.
import { expect, it } from "vitest";
import { parse } from "yaml";
import type { Instance } from "../api/client";
import { firstService, sidecarCommand, staticSource } from "./tagging";

const instance: Instance = { application: "shop", tag: "", address: "10.0.0.5:80", health: "usable", source: "embedded", services: ["admin", "shop"], weight: 100 };

it("names the service of the first port, not the first by alphabet", () => {
  const ports = [
    { service: "shop", protocol: "http", addresses: [] },
    { service: "admin", protocol: "http", addresses: [] },
  ];
  expect(firstService([{ ...instance, ports }], "shop")).toBe("shop");
  expect(firstService([{ ...instance, services: ["shop"] }], "shop")).toBe("shop");
  expect(firstService([], "shop")).toBe("SERVICE");
  expect(sidecarCommand("shop", "shop", "gray")).toBe("laneway sidecar --application shop --service shop --tag gray");
});

it("keeps tags texts in YAML", () => {
  for (const tag of ["gray", "1.10", "true", "007", "null"]) {
    expect(parse(staticSource("shop", "on", tag))).toEqual({ spec: { static: { services: [{ name: "on", application: "shop", instances: [{ address: "IP:PORT", tag }] }] } } });
  }
});
