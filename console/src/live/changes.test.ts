// Changes of what somebody else changes too, against a control plane that keeps one lane.
import { afterEach, beforeEach, expect, it, vi } from "vitest";
import { Away, type Lane, type LaneGroup } from "../api/client";
import { switched } from "../logic/lanes";
import { HalfCreated, Unsure, createLane, patchFrom } from "./changes";

const lane: Lane = {
  apiVersion: "laneway.io/v1alpha1",
  kind: "Lane",
  metadata: { name: "trade-gray", namespace: "default", resourceVersion: "1", uid: "u" },
  spec: { group: "trade", tag: "gray", entry: {}, applications: [] },
};

let stored: Lane;
let asked: string[];
const off = (...names: string[]) => names.map((name) => ({ name, enabled: false }));
const change = (shown: Lane, application: string, isOn: boolean) => patchFrom(shown, (now) => ({ spec: { applications: switched(now, application, isOn) } }));

beforeEach(() => {
  stored = lane;
  asked = [];
  vi.stubGlobal("sessionStorage", { getItem: () => null });
  vi.stubGlobal("fetch", (path: string, init: RequestInit) => {
    asked.push(`${init.method ?? "GET"} ${path}`);
    if (init.method === "PATCH") {
      const patch = JSON.parse(String(init.body)) as Lane;
      const version = patch.metadata.resourceVersion;
      if (version && version !== stored.metadata.resourceVersion) return Promise.resolve(Response.json({ title: "changed meanwhile" }, { status: 409 }));
      stored = { ...stored, metadata: { ...stored.metadata, resourceVersion: String(Number(stored.metadata.resourceVersion) + 1) }, spec: { ...stored.spec, ...patch.spec } };
    }
    return Promise.resolve(Response.json(stored));
  });
});
afterEach(() => vi.unstubAllGlobals());

it("a switch, and its Undo, leave alone what somebody else has switched since it was shown", async () => {
  await change(lane, "a", false);
  expect(stored.spec.applications).toEqual(off("a"));
  // Somebody else switches b off.
  stored = { ...stored, metadata: { ...stored.metadata, resourceVersion: "7" }, spec: { ...stored.spec, applications: off("a", "b") } };
  await change(lane, "a", true);
  expect(stored.spec.applications).toEqual(off("b"));
  expect(asked.slice(-3).map((it) => it.split(" ")[0])).toEqual(["PATCH", "GET", "PATCH"]);
});

it("another lane of the same name is not changed", async () => {
  stored = { ...lane, metadata: { ...lane.metadata, resourceVersion: "9", uid: "another" } };
  await expect(change(lane, "a", false)).rejects.toMatchObject({ status: 409 });
  expect(stored.spec.applications).toEqual([]);
});

it("creates only what is not there, and takes a group back that got no lane", async () => {
  const group: LaneGroup = { apiVersion: "laneway.io/v1alpha1", kind: "LaneGroup", metadata: { name: "trade" }, spec: { entrances: [{ gateway: "edge" }] } };
  const answers = (...statuses: number[]) => {
    asked = [];
    vi.stubGlobal("fetch", (path: string, init: RequestInit) => {
      asked.push(`${init.method ?? "GET"} ${path.replace("/api/v1alpha1/namespaces/default/", "")}`);
      const status = statuses.shift() ?? 500;
      return Promise.resolve(status === 204 ? new Response(null, { status }) : Response.json(status < 300 ? { ...group, metadata: { name: "trade", resourceVersion: "7" } } : { title: "no", detail: "exists already" }, { status }));
    });
  };
  answers(201, 201);
  await createLane(lane, group);
  expect(asked).toEqual(["POST lanegroups", "POST lanes"]);
  answers(409);
  await expect(createLane(lane, group)).rejects.toMatchObject({ status: 409 });
  expect(asked).toEqual(["POST lanegroups"]);
  answers(201, 409, 204);
  await expect(createLane(lane, group)).rejects.toMatchObject({ status: 409 });
  expect(asked).toEqual(["POST lanegroups", "POST lanes", "DELETE lanegroups/trade?resourceVersion=7"]);
  answers(201, 409, 422);
  await expect(createLane(lane, group)).rejects.toEqual(new HalfCreated("exists already"));
  answers(409);
  await expect(createLane(lane)).rejects.toMatchObject({ status: 409 });
  expect(asked).toEqual(["POST lanes"]);
});

it("an answer that is lost is looked up, and what was created is gone on with", async () => {
  const group: LaneGroup = { apiVersion: "laneway.io/v1alpha1", kind: "LaneGroup", metadata: { name: "trade" }, spec: { entrances: [{ gateway: "edge" }], applications: ["a", "b"] } };
  /** Each answer in its turn; nobody gives one where there is none. */
  const answers = (...turns: ({ status: number; spec?: unknown } | undefined)[]) => {
    asked = [];
    vi.stubGlobal("fetch", (path: string, init: RequestInit) => {
      asked.push(`${init.method ?? "GET"} ${path.replace("/api/v1alpha1/namespaces/default/", "")}`);
      const turn = turns.shift();
      if (!turn) return Promise.reject(new TypeError("reset"));
      const { status, spec } = turn;
      return Promise.resolve(status === 204 ? new Response(null, { status }) : Response.json(status < 300 ? { metadata: { name: "trade", resourceVersion: "7" }, spec } : { title: "no", detail: "no" }, { status }));
    });
  };
  // With what the control plane adds, such as defaults.
  const stands = { status: 200, spec: { ...group.spec, extra: {} } };
  const laneStands = { status: 200, spec: { ...lane.spec, enabled: true } };
  const made = { status: 201, spec: group.spec };
  answers(undefined, stands, { status: 201 });
  await createLane(lane, group);
  expect(asked).toEqual(["POST lanegroups", "GET lanegroups/trade", "POST lanes"]);
  answers(made, undefined, laneStands);
  await createLane(lane, group);
  expect(asked).toEqual(["POST lanegroups", "POST lanes", "GET lanes/trade-gray"]);
  // It did not arrive: nothing was changed.
  answers(undefined, { status: 404 });
  await expect(createLane(lane, group)).rejects.toBeInstanceOf(Away);
  // Somebody else's of that name is not taken for it, nor taken back.
  answers(undefined, { status: 200, spec: { ...group.spec, applications: ["a"] } });
  await expect(createLane(lane, group)).rejects.toMatchObject({ status: 409 });
  expect(asked).toEqual(["POST lanegroups", "GET lanegroups/trade"]);
  answers(undefined, undefined);
  await expect(createLane(lane, group)).rejects.toBeInstanceOf(Unsure);
  answers(made, undefined, { status: 404 }, { status: 204 });
  await expect(createLane(lane, group)).rejects.toBeInstanceOf(Away);
  expect(asked.at(-1)).toBe("DELETE lanegroups/trade?resourceVersion=7");
  answers(made, undefined, undefined, { status: 204 });
  await expect(createLane(lane, group)).rejects.toBeInstanceOf(Away);
  answers(made, undefined, undefined, undefined);
  await expect(createLane(lane, group)).rejects.toBeInstanceOf(Unsure);
});
