// The way back: all requests of a lane go to base, at one click; how far that is, and the way back from it, in the same place.
import type { Lane } from "../api/client";
import { setEnabled } from "../live/changes";
import { useConnection } from "../live/hooks";
import { useWhyNot } from "../live/may";
import { type Outcome, useOutcome } from "../live/outcomes";
import { isEnabled } from "../logic/lanes";
import { t } from "../words";
import { Action, State } from "./ui";

/** Rolls a lane back, or enables it again. `isToldHere`: an `OutcomeLine` of the lane is on the page. */
export function RollBack({ lane, isToldHere = false }: { lane: Lane; isToldHere?: boolean }) {
  const { away } = useConnection();
  const forbidden = useWhyNot("operator", lane.metadata.namespace);
  const outcome = useOutcome(lane);
  const why = forbidden ?? (away ? t("The control plane does not answer.") : undefined);
  if (isEnabled(lane)) {
    return (
      <Action look="danger" icon="undo" why={why} onPress={() => void setEnabled(lane, false, isToldHere)}>
        {t("Roll back")}
      </Action>
    );
  }
  return (
    <Action why={why} onPress={() => void setEnabled(lane, true, isToldHere)}>
      {outcome ? t("Undo") : t("Enable")}
    </Action>
  );
}

/** How far the last switch of a lane is that was made here. Whoever only hears the page is told, too. */
export function OutcomeLine({ lane }: { lane: Lane }) {
  const outcome = useOutcome(lane);
  return (
    <span role="status">
      {outcome && (
        <State mood={outcome.milliseconds === undefined ? "wait" : "ok"}>
          <span className="figure">{outcomeText(outcome)}</span>
        </State>
      )}
    </span>
  );
}

export function outcomeText({ isOn, acknowledged: n, all, milliseconds: ms }: Outcome): string {
  if (n === undefined || all === undefined) return isOn ? t("Enabled, on its way") : t("Disabled, on its way");
  if (ms === undefined) return isOn ? t("Enabled, live on {n} of {all} data planes", { n, all }) : t("Disabled, live on {n} of {all} data planes", { n, all });
  return isOn ? t("Enabled, live on {n} of {all} data planes, {ms} ms", { n, all, ms }) : t("Disabled, live on {n} of {all} data planes, {ms} ms", { n, all, ms });
}
