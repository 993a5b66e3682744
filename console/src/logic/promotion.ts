// What the steps and checks of a promotion say, and what stands in the way of the next.
import type { Promotion, PromotionCheck, PromotionStep } from "../api/client";
import { counted, t } from "../words";
import { share } from "./figures";
import { word } from "./write";

/** The promotion of a lane that goes on, else the one that was begun last. */
export function promotionOf(all: readonly Promotion[] | undefined, group: string, tag: string): Promotion | undefined {
  const own = (all ?? []).filter((it) => it.group === group && it.tag === tag);
  return own.find((it) => !it.end) ?? [...own].sort((a, b) => a.started.localeCompare(b.started)).at(-1);
}

export function checksOf(promotion: Promotion): PromotionCheck[] {
  return promotion.steps.find((it) => it.state === "current")?.checks ?? [];
}

/** Checks that still stand in the way once `confirmed` are vouched for. */
export function inTheWay(checks: readonly PromotionCheck[], confirmed: ReadonlySet<string>): PromotionCheck[] {
  return checks.filter((it) => it.state !== "ok" && !(it.confirmable && confirmed.has(it.id)));
}

/** What is sent along: of what was vouched for, what does not hold by itself. */
export function vouchedFor(checks: readonly PromotionCheck[], confirmed: ReadonlySet<string>): string[] {
  return checks.filter((it) => it.state !== "ok" && it.confirmable && confirmed.has(it.id)).map((it) => it.id);
}

export function nextCommand({ lane, group, tag, step }: Promotion, confirmed: readonly string[]): string {
  const of = lane.namespace && lane.namespace !== "default" ? ` --namespace ${word(lane.namespace)}` : "";
  return `laneway lane promote ${word(`${group}/${tag}`)} --next ${step}${confirmed.map((it) => ` --confirm ${word(it)}`).join("")}${of}`;
}

export function stepTitle(step: PromotionStep): string {
  switch (step) {
    case "verdict":
      return t("Verdict");
    case "base":
      return t("Give base the lane's version");
    case "health":
      return t("Check base with the new version");
    case "drain":
      return t("Close the entrances, let the lane drain");
    case "remove":
      return t("Delete the lane");
  }
}

export function stepText(step: PromotionStep): string {
  switch (step) {
    case "verdict":
      return t("The lane is to be no worse than base.");
    case "base":
      return t("Deploy the version that the lane runs to base, with the tools you deploy with. Keep the lane: its requests stay where they are meanwhile.");
    case "health":
      return t("Errors of base with the new version, beside the hour before the promotion.");
    case "drain":
      return t("The lane is paused: who would have entered it meets the same version in base. What is in it finishes there.");
    case "remove":
      return t("The lane's rule is deleted. Its tagged instances are left: stop them afterwards.");
  }
}

/** The button that leads on. */
export function stepAction(step: PromotionStep): string {
  switch (step) {
    case "verdict":
      return t("Begin with base");
    case "base":
      return t("Base has the version");
    case "health":
      return t("Close the entrances");
    case "drain":
      return t("The lane is empty");
    case "remove":
      return t("Delete the lane");
  }
}

export function checkText(check: PromotionCheck): string {
  const { n, of } = check;
  switch (check.kind) {
    case "verdict":
      return n === 0 ? t("No worse than base") : n === 1 ? t("Worse than base") : n === 3 ? t("The lane is paused: nobody enters it, so that too little is seen of it") : t("Too little traffic to say");
    case "instances":
      return of === 0 ? t("Base has no instance") : n === of && check.state === "ok" ? counted(of, "Its only instance of base is new", "All {n} instances of base are new") : n === of ? t("Not all instances of base are usable") : t("{n} of {of} instances of base are new since the start", { n, of });
    case "version":
      return t("No source tells the version of an instance: base runs that of the lane");
    case "errors":
      return check.state === "unknown" ? t("Too little traffic to say: {n} requests", { n: of }) : t("{e} errors of {n} requests", { e: share(n / Math.max(of, 1)), n: of });
    case "closed":
      return of === 0 && check.state === "unknown" ? t("No data plane is known: whether the entrances are closed is not either") : check.state === "waiting" || check.state === "ok" ? t("Paused on {n} of {all} data planes", { n, all: of }) : t("Paused on {n} of {all} data planes, the others are disconnected", { n, all: of });
    case "idle":
      return n > 0 ? t("{n} requests in the lane in the last {s} s", { n, s: of }) : check.state === "ok" ? t("No request in the lane for {s} s", { s: of }) : t("No request in the lane; {s} s are waited for", { s: of });
    case "reports":
      return n === 0 ? t("All data planes report what passes") : counted(n, "1 data plane does not report what passes", "{n} data planes do not report what passes");
    case "fallback":
      return n === 0 ? t("No other lane falls back to it") : counted(n, "1 lane falls back to it: take it out there first", "{n} lanes fall back to it: take it out there first");
    case "scope":
      return t("It came into the lane after the start, its base is not checked: abandon and begin again, or confirm that its base runs the lane's version");
    case "files":
      return n === 0 ? t("No file has said the lane") : t("A file has said the lane and brings it back when it is applied again: take it out there");
    case "removal": {
      const left = n === 0 ? t("The lane goes; it has no instance to stop") : counted(n, "The lane goes; 1 tagged instance is left", "The lane goes; {n} tagged instances are left");
      return of === 0 ? left : `${left}. ${counted(of, "1 more is used by lanes of other groups: keep it", "{n} more are used by lanes of other groups: keep them")}`;
    }
  }
}
