// The rule of a lane that is there. What is typed here is nobody's to overwrite: a change by somebody else is shown beside
// it, and whoever edits chooses.
import { useState } from "react";
import { type Lane, Refused } from "../api/client";
import { failed, replaceLane, words } from "../live/changes";
import { useConnection } from "../live/hooks";
import { useWhyNot } from "../live/may";
import { type Draft, fromEntry, isWhole, taken, toEntry } from "../logic/draft";
import { tagOf } from "../logic/lanes";
import { applyCommand, written, yaml } from "../logic/write";
import { t } from "../words";
import { Choose, Field } from "./fields";
import { RuleForm } from "./rule";
import { toast } from "./toasts";
import { Action, Banner, Button, Code, Panel, Writes } from "./ui";

interface Edited {
  draft: Draft;
  priority: string;
  fallback: string;
}

function edited(lane: Lane): Edited {
  const { fallback } = lane.spec;
  return { draft: fromEntry(lane.spec.entry), priority: String(lane.spec.priority ?? 0), fallback: fallback === "none" ? "none" : (fallback ?? []).join(", ") };
}

/** What was typed, over what is there now: fields that nobody touched here are the other's. */
function merged(now: Lane, it: Edited, began: Lane): Edited {
  const [theirs, was] = [edited(now), edited(began)];
  const isSame = (a: unknown, b: unknown) => JSON.stringify(a) === JSON.stringify(b);
  return {
    draft: isSame(it.draft, was.draft) ? theirs.draft : it.draft,
    priority: it.priority === was.priority ? theirs.priority : it.priority,
    fallback: it.fallback === was.fallback ? theirs.fallback : it.fallback,
  };
}

function applied(lane: Lane, it: Edited): Lane {
  const fallback = it.fallback.trim() === "none" ? ("none" as const) : it.fallback.split(",").map((tag) => tag.trim()).filter(Boolean);
  const { group, tag, enabled, applications } = lane.spec;
  const priority = Number(it.priority);
  return {
    ...lane,
    spec: {
      group,
      ...(tag == null ? {} : { tag }),
      ...(enabled === false ? { enabled } : {}),
      ...(priority !== 0 ? { priority } : {}),
      entry: { ...toEntry(it.draft), ...(lane.spec.entry.paused ? { paused: true } : {}) },
      ...(fallback.length > 0 ? { fallback } : {}),
      ...(applications?.length ? { applications } : {}),
    },
  };
}

export function EditRule({ lane, lanes, onDone }: { lane: Lane; lanes: readonly Lane[]; onDone: () => void }) {
  const [began, setBegan] = useState(lane);
  const [it, setIt] = useState(() => edited(lane));
  const [isBusy, setBusy] = useState(false);
  const [problem, setProblem] = useState<string>();
  const { away } = useConnection();
  const tag = tagOf(lane);
  const others = taken(lanes, lane.metadata.name);
  const mine = applied(began, it);
  const isChangedMeanwhile = lane.metadata.resourceVersion !== began.metadata.resourceVersion;
  const kept = merged(lane, it, began);
  const isWholeNumber = /^-?\d+$/.test(it.priority.trim());

  const save = async (over: Lane) => {
    setBusy(true);
    setProblem(undefined);
    try {
      const next = applied(over, it);
      await replaceLane({ ...written(next), metadata: { ...next.metadata } });
      toast({ mood: "ok", title: t("{x} is saved", { x: `${lane.spec.group}/${tag}` }) });
      onDone();
    } catch (error) {
      // What the other wrote comes by the watch and stands beside this form.
      if (error instanceof Refused && error.status === 409) setProblem(t("Somebody else has changed the lane meanwhile. What you typed is kept."));
      else if (error instanceof Refused) setProblem(words(error));
      else failed(t("{x} stays as it was", { x: `${lane.spec.group}/${tag}` }), error);
    } finally {
      setBusy(false);
    }
  };

  const forbidden = useWhyNot("operator", lane.metadata.namespace);
  const why = forbidden !== undefined ? forbidden : away ? t("The control plane does not answer.") : isBusy ? t("On its way") : !isWhole(it.draft, others) || !isWholeNumber ? t("Something is missing above.") : isChangedMeanwhile ? t("Choose above which version counts.") : undefined;
  return (
    <Panel
      title={t("Edit rule")}
      foot={
        <>
          <Action look="primary" why={why} onPress={() => void save(began)}>
            {t("Save")}
          </Action>
          <Button onPress={onDone}>{t("Discard")}</Button>
        </>
      }
    >
      <div className="body column wide">
        {isChangedMeanwhile && (
          <>
            <Banner mood="warn" title={t("Somebody else has changed the lane meanwhile. What you typed is kept.")} />
            <div className="pair">
              <div className="column wide">
                <span className="label">{t("Theirs, as it is now")}</span>
                <Code text={yaml([lane])} label={t("Theirs, as it is now")} />
                <Button
                  onPress={() => {
                    setBegan(lane);
                    setIt(edited(lane));
                    setProblem(undefined);
                  }}
                >
                  {t("Take theirs")}
                </Button>
              </div>
              <div className="column wide">
                <span className="label">{t("Yours, on top of theirs")}</span>
                <Code text={yaml([applied(lane, kept)])} label={t("Yours, on top of theirs")} />
                <Button
                  onPress={() => {
                    setBegan(lane);
                    setIt(kept);
                    setProblem(undefined);
                  }}
                >
                  {t("Keep mine")}
                </Button>
              </div>
            </div>
          </>
        )}
        {problem && !isChangedMeanwhile && (
          <div role="alert">
            <Banner mood="bad" title={t("It was not saved")}>
              <p>{problem}</p>
            </Banner>
          </div>
        )}
        <RuleForm draft={it.draft} onChange={(draft) => setIt({ ...it, draft })} others={others} url="http://GATEWAY" />
        <Field label={t("Priority")} short value={it.priority} onChange={(priority) => setIt({ ...it, priority })} hint={t("Lower is tried first.")} wrong={isWholeNumber ? undefined : { text: t("Write a whole number.") }} eager />
        <FallbackForm value={it.fallback} tags={lanes.map(tagOf).filter((other) => other !== tag)} onChange={(fallback) => setIt({ ...it, fallback })} />
        <Writes yaml={yaml([mine])} command={applyCommand([mine])} />
      </div>
    </Panel>
  );
}

export function FallbackForm({ value, tags, onChange }: { value: string; tags: readonly string[]; onChange: (value: string) => void }) {
  const options = [{ value: "", text: t("base") }, ...tags.map((it) => ({ value: it, text: t("{x}, then base", { x: it }) })), { value: "none", text: t("none: strict, answers 503") }];
  const known = options.some((it) => it.value === value) ? options : [...options, { value, text: t("{x}, then base", { x: value }) }];
  return (
    <div className="column">
      <Choose label={t("Fallback")} value={value} options={known} onChange={onChange} />
      <span className="hint">{t("Where a hop goes when the lane has no usable instance. Base comes last unless the lane is strict.")}</span>
    </div>
  );
}
