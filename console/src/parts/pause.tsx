// Pausing a lane at its entrances, and the way back.
import type { Lane } from "../api/client";
import { setPaused } from "../live/changes";
import { useConnection } from "../live/hooks";
import { useWhyNot } from "../live/may";
import { isPaused } from "../logic/lanes";
import { t } from "../words";
import { Action } from "./ui";

/** Pauses a lane, or resumes it. */
export function Pause({ lane }: { lane: Lane }) {
  const { away } = useConnection();
  const forbidden = useWhyNot("operator", lane.metadata.namespace);
  const why = forbidden ?? (away ? t("The control plane does not answer.") : undefined);
  return isPaused(lane) ? (
    <Action why={why} onPress={() => void setPaused(lane, false)}>
      {t("Resume")}
    </Action>
  ) : (
    <Action icon="off" why={why} onPress={() => void setPaused(lane, true)}>
      {t("Pause")}
    </Action>
  );
}
