// What a change writes, as YAML, and the command that does the same.
import { stringify } from "yaml";
import type { Kinds, Plural } from "../api/client";

type Named = Kinds[Plural];

/** What people write of an object: neither status nor what the control plane counts. */
export function written<T extends Named>(object: T): T {
  const { name, namespace, labels, annotations } = object.metadata;
  const metadata = {
    name,
    ...(namespace && namespace !== "default" ? { namespace } : {}),
    ...(labels && Object.keys(labels).length > 0 ? { labels } : {}),
    ...(annotations && Object.keys(annotations).length > 0 ? { annotations } : {}),
  };
  const { apiVersion, kind, spec } = object;
  return { apiVersion, kind, metadata, spec: withoutNull(spec) } as T;
}

function withoutNull<T>(value: T): T {
  if (Array.isArray(value)) return value.map(withoutNull) as T;
  if (value === null || typeof value !== "object") return value;
  const kept = Object.entries(value).filter(([, it]) => it !== null && it !== undefined);
  return Object.fromEntries(kept.map(([name, it]) => [name, withoutNull(it)])) as T;
}

export function yaml(objects: readonly Named[]): string {
  return objects.map((object) => stringify(written(object), { lineWidth: 0 })).join("---\n");
}

export function applyCommand(objects: readonly Named[]): string {
  return `laneway apply -f - <<'EOF'\n${yaml(objects)}EOF`;
}

/** A word as a shell takes it. */
export function word(text: string): string {
  return /^[\w@%+=:,./-]+$/.test(text) ? text : `'${text.replaceAll("'", `'\\''`)}'`;
}

function inNamespace(object: Named): string {
  const namespace = object.metadata.namespace ?? "default";
  return namespace === "default" ? "" : ` --namespace ${word(namespace)}`;
}

export function laneCommand(lane: Kinds["lanes"], action: string): string {
  const [verb = "", ...rest] = action.split(" ");
  const name = `${lane.spec.group}/${lane.spec.tag ?? lane.metadata.name}`;
  return ["laneway lane", verb, word(name), ...rest].join(" ") + inNamespace(lane);
}

export function deleteCommand(kind: string, object: Named): string {
  return `laneway delete ${kind} ${word(object.metadata.name)}${inNamespace(object)}`;
}
