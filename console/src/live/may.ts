// What whoever looks may do, and why not. The API has the last word: here it is only said beforehand.
import { type Role, type Session } from "../api/client";
import { t } from "../words";
import { useSession } from "./hooks";

const RANK: Record<Role, number> = { viewer: 0, operator: 1, admin: 2 };

export function roleName(role: Role): string {
  return { viewer: t("viewer"), operator: t("operator"), admin: t("admin") }[role];
}

export function grantText({ role, namespace = "*" }: Session["grants"][number]): string {
  return namespace === "*" ? t("{r} everywhere", { r: roleName(role) }) : t("{r} in {n}", { r: roleName(role), n: namespace });
}

export function may(session: Session, role: Role, namespace: string): boolean {
  return session.grants.some((it) => ((it.namespace ?? "*") === "*" || it.namespace === namespace) && RANK[it.role] >= RANK[role]);
}

/** Why something in a namespace (`*`: everywhere) cannot be done, in the words people see; undefined when it can, or is not known. */
export function useWhyNot(role: Role, namespace = "default"): string | undefined {
  const session = useSession().data;
  if (!session || may(session, role, namespace)) return undefined;
  const has = session.grants.map(grantText).join(", ");
  return namespace === "*" ? t("It takes {r} everywhere; you are {h}.", { r: roleName(role), h: has }) : t("It takes {r} in {n}; you are {h}.", { r: roleName(role), n: namespace, h: has });
}
