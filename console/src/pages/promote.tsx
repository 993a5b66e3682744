// Promoting a lane to base, step by step. The control plane keeps where it stands: it goes on in another browser, or by command.
import { useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import type { Lane, Promotion, PromotionCheck, PromotionStep } from "../api/client";
import { failed } from "../live/changes";
import { useConnection, useObjects, usePromotion, usePromotions } from "../live/hooks";
import { useWhyNot } from "../live/may";
import { type Of, abandonPromotion, goOnPromoting, promotionPath, startPromotion } from "../live/promotion";
import { isEnabled, tagOf } from "../logic/lanes";
import { checkText, checksOf, inTheWay, nextCommand, promotionOf, stepAction, stepText, stepTitle, vouchedFor } from "../logic/promotion";
import { Icon } from "../parts/icons";
import { NotFound, usePlace } from "../parts/shell";
import { Action, Banner, Bones, Code, Head, LinkButton, type Mood, State } from "../parts/ui";
import { t } from "../words";

const promoteRoute = getRouteApi("/lanes/$group/$tag/promote");

const STEPS: readonly PromotionStep[] = ["verdict", "base", "health", "drain", "remove"];

export function PromotePage() {
  const { group, tag } = promoteRoute.useParams();
  const name = `${group}/${tag}`;
  usePlace({ text: t("Full-link canary"), to: "/lanes" }, { text: group, to: `/lanes/${group}` }, { text: tag, to: `/lanes/${group}/${tag}` }, { text: t("Promote") });
  const lanes = useObjects("lanes");
  const all = usePromotions().data;
  const known = promotionOf(all, group, tag);
  const lane = lanes.objects.find((it) => it.spec.group === group && tagOf(it) === tag);
  if (!lanes.ready || !all) return <Bones label={t("Loading promotions")} rows={5} />;
  if (!known && !lane) return <NotFound what={t("There is no lane {x}.", { x: name })} />;
  const isOver = known?.end !== undefined && known.end !== null;
  const of: Of = { namespace: known?.lane.namespace ?? lane?.metadata.namespace ?? "default", name: known?.lane.name ?? lane?.metadata.name ?? "" };
  return (
    <div className="stackline">
      <Head
        title={t("Promote {x} to base", { x: name })}
        lead={t("Base takes over the version of the lane. Laneway watches each step and says when it is done; it changes no Deployment and no process by itself.")}
        actions={
          lane && (
            <LinkButton to="/lanes/$group/$tag" params={{ group, tag }}>
              {t("Back to the lane")}
            </LinkButton>
          )
        }
      />
      {known && isOver && <Ended promotion={known} />}
      {known && !isOver ? <Going key={known.step} known={known} of={of} /> : lane && <Begin lane={lane} of={of} anew={isOver && known.end?.outcome !== "promoted"} />}
    </div>
  );
}

function Ended({ promotion }: { promotion: Promotion }) {
  const { end } = promotion;
  if (!end) return null;
  const title = { promoted: t("Promoted"), abandoned: t("Abandoned"), stopped: t("Stopped by a change of the lane") }[end.outcome];
  return (
    <Banner mood={end.outcome === "stopped" ? "warn" : "info"} title={title}>
      <p>{end.message}</p>
      {(end.left ?? []).length > 0 && (
        <ul className="small">
          {(end.left ?? []).map((it) => (
            <li key={it}>{it}</li>
          ))}
        </ul>
      )}
      {(end.shared ?? []).length > 0 && (
        <>
          <p>{t("Used by lanes of other groups, to be kept:")}</p>
          <ul className="small">
            {(end.shared ?? []).map((it) => (
              <li key={it}>{it}</li>
            ))}
          </ul>
        </>
      )}
    </Banner>
  );
}

/** One change at a time; afterwards what is shown is asked for anew. */
function useDoing(of: Of) {
  const queries = useQueryClient();
  const [isBusy, setBusy] = useState(false);
  const run = async (what: string, doing: () => Promise<Promotion>) => {
    setBusy(true);
    try {
      await doing();
    } catch (error) {
      failed(what, error);
    } finally {
      setBusy(false);
      await Promise.all([queries.invalidateQueries({ queryKey: ["/promotions"] }), queries.invalidateQueries({ queryKey: [promotionPath(of)] })]);
    }
  };
  return { isBusy, run };
}

function useWhyNotNow(namespace: string, isBusy: boolean): string | undefined {
  const { away } = useConnection();
  const forbidden = useWhyNot("operator", namespace);
  return forbidden ?? (away ? t("The control plane does not answer.") : isBusy ? t("On its way") : undefined);
}

function Begin({ lane, of, anew }: { lane: Lane; of: Of; anew: boolean }) {
  const { isBusy, run } = useDoing(of);
  const notNow = useWhyNotNow(of.namespace, isBusy);
  const members = (lane.status?.matched ?? []).filter((it) => it.tagged > 0).map((it) => it.application);
  const name = `${lane.spec.group}/${tagOf(lane)}`;
  const why = notNow ?? (!isEnabled(lane) ? t("The lane is disabled.") : members.length === 0 ? t("No application has an instance in the lane.") : undefined);
  return (
    <section className="panel" aria-label={t("Steps")}>
      <div className="body column wide">
        {members.length > 0 && <p>{t("Applications with instances in the lane: {x}", { x: members.join(", ") })}</p>}
        <ol className="way">
          {STEPS.map((step, index) => (
            <Step key={step} step={step} number={index + 1} state="later" />
          ))}
        </ol>
        <Code text={`laneway lane promote ${name}${anew ? " --anew" : ""}`} label={t("Command")} />
        <div className="line">
          <Action look="primary" icon="up" why={why} onPress={() => void run(t("{x} is not being promoted", { x: name }), () => startPromotion(of, anew))}>
            {t("Begin to promote")}
          </Action>
        </div>
      </div>
    </section>
  );
}

function Going({ known, of }: { known: Promotion; of: Of }) {
  const promotion = usePromotion(of).data ?? known;
  const { isBusy, run } = useDoing(of);
  const [confirmed, setConfirmed] = useState<ReadonlySet<string>>(new Set());
  const notNow = useWhyNotNow(of.namespace, isBusy);
  const { step, group, tag } = promotion;
  const name = `${group}/${tag}`;
  const checks = checksOf(promotion);
  const left = inTheWay(checks, confirmed);
  const vouched = vouchedFor(checks, confirmed);
  const why = notNow ?? (checks.length === 0 ? t("Loading figures") : left.length === 0 ? undefined : left.some((it) => !it.confirmable) ? t("Something does not hold yet.") : t("Confirm what does not hold by itself."));
  const confirm = (id: string, isOn: boolean) => {
    const next = new Set(confirmed);
    if (isOn) next.add(id);
    else next.delete(id);
    setConfirmed(next);
  };
  return (
    <>
      <section className="panel" aria-label={t("Steps")}>
        <div className="body column wide">
          <p className="second">{t("Begun by {who}. Applications: {x}", { who: promotion.startedBy.name, x: promotion.applications.join(", ") })}</p>
          <ol className="way">
            {promotion.steps.map((it, index) => (
              <Step key={it.step} step={it.step} number={index + 1} state={it.state} confirmed={it.confirmed ?? []}>
                {it.state === "current" && (
                  <div className="column wide">
                    <ul className="checks">
                      {checks.map((check) => (
                        <Check key={check.id} check={check} isConfirmed={confirmed.has(check.id)} isOff={notNow !== undefined} onConfirm={(isOn) => confirm(check.id, isOn)} />
                      ))}
                    </ul>
                    <div className="line">
                      <Action look={step === "remove" ? "final" : "primary"} why={why} onPress={() => void run(t("The promotion of {x} stays where it is", { x: name }), () => goOnPromoting(of, step, vouched))}>
                        {stepAction(step)}
                      </Action>
                    </div>
                    <Code text={nextCommand(promotion, vouched)} label={t("Command")} />
                  </div>
                )}
              </Step>
            ))}
          </ol>
        </div>
      </section>
      <div className="line">
        <Action look="danger" icon="undo" why={notNow} onPress={() => void run(t("The promotion of {x} stays where it is", { x: name }), () => abandonPromotion(of))}>
          {t("Abandon")}
        </Action>
        <span className="hint">{t("A lane that the promotion has paused is resumed; nothing else is changed.")}</span>
      </div>
    </>
  );
}

function Step({ step, number, state, confirmed = [], children }: { step: PromotionStep; number: number; state: Promotion["steps"][number]["state"]; confirmed?: NonNullable<Promotion["steps"][number]["confirmed"]>; children?: React.ReactNode }) {
  return (
    <li className={state} aria-current={state === "current" ? "step" : undefined}>
      <i aria-hidden="true">{state === "done" ? <Icon name="check" /> : number}</i>
      <div className="column">
        <h2>
          {stepTitle(step)}
          {state === "done" && <span className="unseen">{t("done")}</span>}
        </h2>
        <p className="second">{stepText(step)}</p>
        {confirmed.map((it) => (
          <p key={it.check} className="small second">
            {t("{who} confirmed: {x}", { who: it.by.name, x: it.check })}
          </p>
        ))}
        {children}
      </div>
    </li>
  );
}

const MOODS: Record<PromotionCheck["state"], Mood> = { ok: "ok", waiting: "wait", unknown: "warn", failed: "bad" };

function Check({ check, isConfirmed, isOff, onConfirm }: { check: PromotionCheck; isConfirmed: boolean; isOff: boolean; onConfirm: (isOn: boolean) => void }) {
  const text = checkText(check);
  const application = check.application;
  return (
    <li>
      <State mood={MOODS[check.state]}>
        {application != null && (
          <>
            <Link to="/applications/$application" params={{ application }}>
              {application}
            </Link>
            {": "}
          </>
        )}
        <span className="figure">{text}</span>
      </State>
      {check.state !== "ok" && check.confirmable && (
        <label className="confirm">
          <input type="checkbox" checked={isConfirmed} disabled={isOff} onChange={(event) => onConfirm(event.target.checked)} />
          <span>{application != null ? t("I vouch for {x}", { x: application }) : t("I vouch for it")}</span>
          <span className="unseen">: {text}</span>
        </label>
      )}
    </li>
  );
}
