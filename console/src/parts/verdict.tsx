// Whether a lane is worse than base, and because of which application, in words; beside it what to do about it.
import type { JudgedApplication, Lane, LaneVerdict, Verdict } from "../api/client";
import { share } from "../logic/figures";
import { isEnabled, isWorse, tagOf } from "../logic/lanes";
import { laneCommand, yaml } from "../logic/write";
import { counted, t, time } from "../words";
import { Icon } from "./icons";
import { OutcomeLine, RollBack } from "./roll-back";
import { type Mood, State, Writes } from "./ui";

/** The answer of a lane's page: go on, or roll back, because of whom. */
export function VerdictPanel({ lane, verdict }: { lane: Lane; verdict: Verdict | undefined }) {
  const isOn = isEnabled(lane);
  // Who wants to roll back does not wait for figures: the lane's status tells how it stands before they come.
  const told = verdict ?? lane.status?.verdict;
  const mood: Mood = isOn ? MOODS[told?.state ?? "tooLittle"] : "off";
  const about = verdict?.about;
  return (
    <section className={`panel verdict ${mood}`} aria-label={t("Verdict")}>
      <div className="answer">
        <Icon name={mood} kind={mood} />
        <div>
          <h2>{!isOn ? t("Disabled") : told ? headline(told) : t("Loading figures")}</h2>
          <p>{!isOn ? t("All its requests go to base.") : verdict && verdictText(verdict)}</p>
          {!isOn && verdict?.state === "worse" && <p>{t("It was worse than base: {x}", { x: verdictText(verdict) })}</p>}
        </div>
        {isOn && about && (
          <div className="sample figure">
            <span>
              <strong>{about.worse?.requests ?? about.requests}</strong> {counted(about.worse?.requests ?? about.requests, "request in the lane", "requests in the lane")}
            </span>
            <span className="second">{t("{n} of base", { n: about.worse?.baseRequests ?? about.baseRequests })}</span>
          </div>
        )}
        <RollBack lane={lane} isToldHere />
      </div>
      <footer>
        <OutcomeLine lane={lane} />
        <details>
          <summary>{t("How this is decided")}</summary>
          <p className="second">{t("The lane's own instances beside base, since the lane was enabled, by a sequential test: however often it is looked at, a healthy lane is ever told as worse with a chance of at most 1 %. Worse takes 1 % more errors, or 10 % more slow answers, than base. The culprit is whose own answers got worse, not who passes them on.")}</p>
        </details>
        <Writes
          title={isOn ? t("What rolling back writes, and as a command") : t("What enabling writes, and as a command")}
          yaml={yaml([{ ...lane, spec: { ...lane.spec, enabled: !isOn } }])}
          command={laneCommand(lane, isOn ? "disable" : "enable")}
        />
      </footer>
    </section>
  );
}

const MOODS: Record<LaneVerdict["state"], Mood> = { noWorse: "ok", worse: "bad", passedOn: "bad", tooLittle: "wait" };

function headline({ state, culprit }: LaneVerdict): string {
  if (state === "noWorse") return t("No worse than base");
  if (state === "tooLittle") return t("Too little traffic to say");
  return culprit == null ? t("Worse than base") : t("Worse than base: because of {x}", { x: culprit });
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

/** A lane's verdict as its status tells it, which says nothing while there is too little traffic to say. */
const verdictOf = (lane: Lane): LaneVerdict => lane.status?.verdict ?? { state: "tooLittle" };

/** How a lane stands, in a mark and few words. */
export function Standing({ lane }: { lane: Lane }) {
  const verdict = verdictOf(lane);
  if (!isEnabled(lane)) return <State mood="off">{t("Disabled")}</State>;
  return (
    <span className="column tight">
      <State mood={MOODS[verdict.state]}>{standingText(verdict)}</State>
      {isWorse(lane) && verdict.culprit != null && <span className="small second">{verdict.culprit}</span>}
    </span>
  );
}

/** The same as a mark alone, beside the lane's badge. */
export function StandingMark({ lane }: { lane: Lane }) {
  const verdict = verdictOf(lane);
  if (!isEnabled(lane)) return null;
  const text = isWorse(lane) && verdict.culprit != null ? t("Worse than base: because of {x}", { x: verdict.culprit }) : standingText(verdict);
  return (
    <span className="standing" title={text}>
      <Icon name={MOODS[verdict.state]} kind={isWorse(lane) ? "bad" : "quiet"} />
      <span className="unseen">{text}</span>
    </span>
  );
}

export function standingText({ state }: LaneVerdict): string {
  return state === "noWorse" ? t("No worse") : state === "tooLittle" ? t("Too little traffic") : t("Worse");
}

/** How one application stands in the lane; none: no request of the lane has come to an instance of it, or all fell back. */
export function JudgedState({ of, culprit, fallback }: { of: JudgedApplication | undefined; culprit: string | null | undefined; fallback: number }) {
  if (!of) return <span className="quiet">{fallback > 0 ? t("Not in the lane") : t("No request")}</span>;
  if (of.application === culprit) return <State mood="bad">{t("Culprit")}</State>;
  if (of.state === "passedOn") return <State mood="warn">{t("Passes it on")}</State>;
  return <State mood={MOODS[of.state]}>{standingText(of)}</State>;
}

/** That a lane is worse than base, and why, as its status tells it. */
export function worseText(lane: Lane): { title: string; text: string } {
  const culprit = lane.status?.verdict?.culprit;
  return {
    title: t("{l} is worse than base", { l: tagOf(lane) }),
    text: culprit == null ? t("Errors or delays are passed on. Whose they are is not known.") : t("Because of {x}: its own answers got worse.", { x: culprit }),
  };
}
