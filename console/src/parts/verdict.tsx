// Whether a lane is worse than base, and because of which application, in words; beside it what to do about it.
import type { Lane, Verdict } from "../api/client";
import { setEnabled } from "../live/changes";
import { useConnection, useVerdict } from "../live/hooks";
import { share } from "../logic/figures";
import { isEnabled } from "../logic/lanes";
import { t, time } from "../words";
import { Action, Bones, Panel, State } from "./ui";

export function VerdictPanel({ group, tag, lane }: { group: string; tag: string; lane: Lane }) {
  const { away } = useConnection();
  const verdict = useVerdict(group, tag).data;
  const isOn = isEnabled(lane);
  const why = away ? t("The control plane does not answer.") : isOn ? undefined : t("The lane is disabled: all its requests go to base.");
  return (
    <Panel
      title={t("Verdict")}
      lead={t("The lane's own instances beside base, since the lane was enabled. It may be looked at as often as you like.")}
      actions={
        <Action why={why} onPress={() => void setEnabled(lane, false)}>
          {t("Roll back")}
        </Action>
      }
    >
      {verdict ? (
        <div className="body column">
          <VerdictState verdict={verdict} />
          <span className="small second">{verdictText(verdict)}</span>
        </div>
      ) : (
        <Bones label={t("Loading figures")} rows={1} />
      )}
    </Panel>
  );
}

/** How the lane stands, in a mark and few words. */
export function VerdictState({ verdict }: { verdict: Verdict }) {
  if (verdict.state === "noWorse") return <State mood="ok">{t("No worse")}</State>;
  if (verdict.state === "tooLittle") return <State mood="wait">{t("Too little traffic to say")}</State>;
  return <State mood="bad">{verdict.culprit == null ? t("Worse") : t("Worse: because of {x}", { x: verdict.culprit })}</State>;
}

/** What a verdict rests on. */
export function verdictText({ state, culprit, about }: Verdict): string {
  if (!about) return t("No request in the lane.");
  const x = about.application;
  const { worse } = about;
  if (worse && state === "worse") {
    const values = { x, lane: share(worse.ratio), base: share(worse.baseRatio), n: worse.requests, time: time(new Date(worse.since * 1000)) };
    if (worse.what === "slow") return t("{x}: {lane} slower than 95 % of base, against {base}, from {n} requests, since {time}", values);
    if (culprit == null) return t("{x}: errors {lane} against {base}, passed on from what it calls, from {n} requests, since {time}", values);
    return t("{x}: errors {lane} against {base}, from {n} requests, since {time}", values);
  }
  if (state === "noWorse") return t("{x} from {n} requests, the fewest", { x, n: about.requests });
  if (about.baseRequests === 0) return t("No request of base to compare {x} with.", { x });
  return t("{n} of about {all} requests needed, for {x}", { x, n: about.requests, all: about.needed ?? 0 });
}
