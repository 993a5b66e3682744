// What may be a name: the rules the API has, told while somebody types. The API's answer counts.

/** Names of groups are DNS labels. */
export function isGroupName(text: string): boolean {
  return /^[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?$/.test(text);
}

/** Tags are Kubernetes label values; `base` and nothing mean untagged. */
export function isTag(text: string): boolean {
  return text !== "base" && /^[A-Za-z0-9]([-A-Za-z0-9_.]{0,61}[A-Za-z0-9])?$/.test(text);
}

/** A lane's object is named after its group and tag. */
export function laneName(group: string, tag: string): string {
  return `${group}-${tag}`.toLowerCase().replace(/[^-a-z0-9.]+/g, "-").slice(0, 253);
}

/** The first free name of this kind: `search`, `search-2`. */
export function freeName(wanted: string, taken: ReadonlySet<string>): string {
  let name = wanted;
  for (let number = 2; taken.has(name); number += 1) name = `${wanted}-${number}`;
  return name;
}

interface Named {
  kind: string;
  metadata: { name: string; namespace?: string };
}

/** Objects but those that a form is creating: they come before the answer does, and take no name from it. */
export function beside<T extends Named>(objects: readonly T[], own: readonly Named[]): readonly T[] {
  const isOf = (it: Named, other: Named) =>
    it.kind === other.kind && it.metadata.name === other.metadata.name && (it.metadata.namespace ?? "default") === (other.metadata.namespace ?? "default");
  return own.length === 0 ? objects : objects.filter((it) => !own.some((other) => isOf(it, other)));
}
