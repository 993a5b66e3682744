// The guided flow: a lane group and its first lane, or another lane. Nothing is written before the last step.
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { type ReactNode, useState } from "react";
import { Away, type CheckResponse, type Gateway, type Instance, type Lane, type LaneGroup, send } from "../api/client";
import { HalfCreated, Unsure, createLane, failed } from "../live/changes";
import { useConnection, useInstances, useObjects, useServices, useStatus } from "../live/hooks";
import { useWhyNot } from "../live/may";
import { type Draft, fresh, isWhole, taken, toEntry } from "../logic/draft";
import { entranceText, inOrder, instancesOf, isUsable, modeOf, tagOf } from "../logic/lanes";
import { beside, freeName, isGroupName, isTag, laneName } from "../logic/names";
import { applyCommand, yaml } from "../logic/write";
import { FallbackForm } from "../parts/edit-rule";
import { Choose, Field, Radios, type Wrong } from "../parts/fields";
import { Icon } from "../parts/icons";
import { Matching } from "../parts/matching";
import { ModeForm, RuleForm } from "../parts/rule";
import { usePlace } from "../parts/shell";
import { toast } from "../parts/toasts";
import { Action, Banner, Bones, Button, Empty, Head, LinkButton, Switch, Writes } from "../parts/ui";
import { Sketch } from "../swim/mini";
import { t } from "../words";

const newGroupRoute = getRouteApi("/new/lane-group");
const newLaneRoute = getRouteApi("/new/lane");

interface GroupDraft {
  name: string;
  namespace: string;
  entrance: "gateway" | "application";
  gateway: string;
  routes: string[];
  entranceApplication: string;
  applications: string[];
}

interface LaneDraft {
  tag: string;
  rule: Draft;
  fallback: string;
  enabled: boolean;
}

function groupOf(it: GroupDraft): LaneGroup {
  const entrance = it.entrance === "application" ? { application: it.entranceApplication } : { gateway: it.gateway, ...(it.routes.length > 0 ? { routes: it.routes } : {}) };
  return { apiVersion: "laneway.io/v1alpha1", kind: "LaneGroup", metadata: metadata(it.name, it.namespace), spec: { entrances: [entrance], applications: it.applications } };
}

function laneOf(group: { name: string; namespace: string }, it: LaneDraft, taken: ReadonlySet<string>): Lane {
  const fallback = it.fallback === "none" ? { fallback: "none" as const } : it.fallback ? { fallback: it.fallback.split(",").map((tag) => tag.trim()) } : {};
  return {
    apiVersion: "laneway.io/v1alpha1",
    kind: "Lane",
    metadata: metadata(freeName(laneName(group.name, it.tag), taken), group.namespace),
    spec: { group: group.name, tag: it.tag, ...(it.enabled ? {} : { enabled: false }), entry: toEntry(it.rule), ...fallback },
  };
}

function metadata(name: string, namespace: string) {
  return namespace === "" || namespace === "default" ? { name } : { name, namespace };
}

/** Applications that any source knows, and how many instances they have. */
function known(instances: readonly Instance[], services: readonly { application: string }[]) {
  const names = new Set([...services.map((it) => it.application), ...instances.map((it) => it.application)]);
  return [...names].filter(Boolean).sort().map((name) => {
    const own = instances.filter((it) => it.application === name && isUsable(it));
    return { name, base: own.filter((it) => it.tag === "").length, tagged: own.filter((it) => it.tag !== "").length };
  });
}

export function CreateGroupPage() {
  usePlace({ text: t("Full-link canary"), to: "/lanes" }, { text: t("Create lane group and lane") });
  const groups = useObjects("lanegroups");
  const lanes = useObjects("lanes");
  // Which names are free is not known before all are.
  if (!groups.ready || !lanes.ready) return <Bones label={t("Loading lane groups")} />;
  return <GroupFlow groups={groups.objects} lanes={lanes.objects} />;
}

function GroupFlow({ groups: allGroups, lanes: allLanes }: { groups: readonly LaneGroup[]; lanes: readonly Lane[] }) {
  const [own, setOwn] = useState<readonly (LaneGroup | Lane)[]>([]);
  const [groups, lanes] = [beside(allGroups, own), beside(allLanes, own)];
  const { step: asked = "1" } = newGroupRoute.useSearch();
  const navigate = useNavigate();
  const [group, setGroup] = useState<GroupDraft>({ name: "", namespace: "", entrance: "gateway", gateway: "edge", routes: [], entranceApplication: "", applications: [] });
  const [lane, setLane] = useState<LaneDraft>({ tag: "", rule: fresh("content"), fallback: "", enabled: true });
  const instances = useInstances().data ?? [];
  const names = new Set(groups.map((it) => it.metadata.name));
  const lack = lacking(group, lane, names);
  // A link to a later step begins with the first that is not done.
  const step = Math.min(Math.max(1, Number(asked) || 1), lack.findIndex((it) => it !== undefined) === -1 ? 4 : lack.findIndex((it) => it !== undefined) + 1);
  const go = (next: number) => void navigate({ to: "/new/lane-group", search: { step: String(next) } });
  const created = { group: groupOf(group), lane: laneOf(group, lane, new Set(lanes.map((it) => it.metadata.name))) };
  const objects = [created.group, created.lane];
  const hasOwn = (application: string) => instancesOf(instances, application, lane.tag).some(isUsable);
  return (
    <Flow
      title={t("Create lane group and lane")}
      steps={[t("Lane group"), t("Applications"), t("Lane"), t("Traffic")]}
      step={step}
      go={go}
      why={lack[step - 1]}
      wanted={step === 4 && lack.every((it) => it === undefined) ? created : undefined}
      setOwn={setOwn}
      created={t("{x} is created", { x: `${group.name}/${lane.tag}` })}
      done={`/lanes/${group.name}`}
      last={lane.enabled ? t("Create and enable") : t("Create disabled")}
      aside={
        <>
          <Sketch applications={group.applications} own={hasOwn} tag={lane.tag} entrance={group.entrance === "gateway" ? group.gateway : group.entranceApplication} />
          {step > 1 && <Writes yaml={yaml(objects)} command={applyCommand(objects)} />}
        </>
      }
    >
      {step === 1 && <GroupStep group={group} setGroup={setGroup} names={names} />}
      {step === 2 && <ApplicationsStep group={group} setGroup={setGroup} others={groups} />}
      {step === 3 && <TagStep lane={lane} setLane={setLane} applications={group.applications} taken={[]} />}
      {step === 4 && <TrafficStep lane={lane} setLane={setLane} others={0} url="http://GATEWAY" tags={[]} />}
    </Flow>
  );
}

function lacking(group: GroupDraft, lane: LaneDraft, names: ReadonlySet<string>): (string | undefined)[] {
  return [
    !isGroupName(group.name) || names.has(group.name) ? t("The group needs a name of its own.") : group.entrance === "application" && group.entranceApplication === "" ? t("Choose the application that is the entrance.") : undefined,
    group.applications.length === 0 ? t("Choose at least one application.") : undefined,
    isTag(lane.tag) ? undefined : t("The lane needs a tag."),
    isWhole(lane.rule, 0) ? undefined : t("Something is missing above."),
  ];
}

export function CreateLanePage() {
  usePlace({ text: t("Full-link canary"), to: "/lanes" }, { text: t("Create lane") });
  const { group: wanted = "" } = newLaneRoute.useSearch();
  const navigate = useNavigate();
  const groups = useObjects("lanegroups");
  const lanes = useObjects("lanes");
  if (!groups.ready || !lanes.ready) return <Bones label={t("Loading lane groups")} />;
  const group = groups.objects.find((it) => it.metadata.name === wanted);
  if (group) return <LaneFlow key={wanted} group={group} lanes={lanes.objects} />;
  return (
    <div className="stackline">
      <Head title={t("Create lane")} lead={t("In which group?")} />
      <section className="panel">
        {groups.objects.length === 0 ? (
          <Empty title={t("No lane group yet")} actions={<LinkButton look="primary" to="/new/lane-group">{t("Create lane group and lane")}</LinkButton>} />
        ) : (
          <ul className="groups">
            {groups.objects.map((it) => (
              <li key={it.metadata.uid ?? it.metadata.name}>
                <span className="title">{it.metadata.name}</span>
                <span className="second">{entranceText(it)}</span>
                <span className="second">{(it.spec.applications ?? []).join(", ")}</span>
                <Button onPress={() => void navigate({ to: "/new/lane", search: { group: it.metadata.name } })} aria-label={t("Choose {x}", { x: it.metadata.name })}>
                  {t("Choose")}
                </Button>
              </li>
            ))}
          </ul>
        )}
      </section>
    </div>
  );
}

function LaneFlow({ group, lanes: allLanes }: { group: LaneGroup; lanes: readonly Lane[] }) {
  const [own, setOwn] = useState<readonly (LaneGroup | Lane)[]>([]);
  const all = beside(allLanes, own);
  const lanes = inOrder(all, group);
  const { step: asked = "1" } = newLaneRoute.useSearch();
  const navigate = useNavigate();
  const name = group.metadata.name;
  const locked = modeOf(lanes);
  const [lane, setLane] = useState<LaneDraft>({ tag: "", rule: fresh(locked ?? "content"), fallback: "", enabled: true });
  const instances = useInstances().data ?? [];
  const applications = group.spec.applications ?? [];
  const others = taken(lanes);
  const tags = lanes.map(tagOf);
  const isNew = isTag(lane.tag) && !tags.includes(lane.tag);
  const lack = [isNew ? undefined : t("The lane needs a tag of its own."), isWhole(lane.rule, others) ? undefined : t("Something is missing above.")];
  const step = Math.min(Math.max(1, Number(asked) || 1), lack[0] ? 1 : 2);
  const object = laneOf({ name, namespace: group.metadata.namespace ?? "" }, lane, new Set(all.map((it) => it.metadata.name)));
  const hasOwn = (application: string) => instancesOf(instances, application, lane.tag).some(isUsable);
  const why = locked && t("Locked: {g} already has lanes ({x}), and all lanes of a group use one mode. It is free again when the group has no lanes.", { g: name, x: tags.join(", ") });
  return (
    <Flow
      title={t("Create lane in {g}", { g: name })}
      steps={[t("Lane"), t("Traffic")]}
      step={step}
      go={(next) => void navigate({ to: "/new/lane", search: { group: name, step: String(next) } })}
      why={lack[step - 1]}
      wanted={step === 2 && lack.every((it) => it === undefined) ? { lane: object } : undefined}
      setOwn={setOwn}
      created={t("{x} is created", { x: `${name}/${lane.tag}` })}
      done={`/lanes/${name}`}
      last={lane.enabled ? t("Create and enable") : t("Create disabled")}
      aside={
        <>
          <Sketch applications={applications} own={hasOwn} tag={lane.tag} entrance={entranceText(group)} />
          <Writes yaml={yaml([object])} command={applyCommand([object])} />
        </>
      }
    >
      {step === 1 ? <TagStep lane={lane} setLane={setLane} applications={applications} taken={tags} /> : <TrafficStep lane={lane} setLane={setLane} others={others} locked={why} url="http://GATEWAY" tags={tags} />}
    </Flow>
  );
}

interface FlowProps {
  title: string;
  steps: string[];
  step: number;
  go: (step: number) => void;
  /** Why the next step has to wait. */
  why: string | undefined;
  /** What is created, once it is whole. */
  wanted: { group?: LaneGroup; lane: Lane } | undefined;
  /** Takes what is being created: it is told of before the answer comes, and is nobody else's. */
  setOwn: (own: readonly (LaneGroup | Lane)[]) => void;
  created: string;
  done: string;
  last: string;
  aside: ReactNode;
  children: ReactNode;
}

function Flow({ title, steps, step, go, why, wanted, setOwn, created, done, last, aside, children }: FlowProps) {
  const navigate = useNavigate();
  const { away } = useConnection();
  const [isBusy, setBusy] = useState(false);
  const isLast = step === steps.length;
  const create = async () => {
    if (!wanted) return;
    setBusy(true);
    setOwn(wanted.group ? [wanted.group, wanted.lane] : [wanted.lane]);
    try {
      await createLane(wanted.lane, wanted.group);
      toast({ mood: "ok", title: created });
      await navigate({ href: done });
    } catch (error) {
      setOwn([]);
      failed(outcome(error), error);
    } finally {
      setBusy(false);
    }
  };
  const forbidden = useWhyNot("operator", wanted?.lane.metadata.namespace);
  const stop = why ?? (isLast ? forbidden : undefined) ?? (isLast && away ? t("The control plane does not answer.") : isLast && isBusy ? t("On its way") : undefined);
  return (
    <>
      <Head title={title} />
      <ol className="steps" aria-label={t("Steps")}>
        {steps.map((it, index) => (
          <li key={it} className={index + 1 < step ? "done" : ""} aria-current={index + 1 === step ? "step" : undefined}>
            <i>{index + 1 < step ? <Icon name="check" /> : index + 1}</i>
            <span>{it}</span>
          </li>
        ))}
      </ol>
      <div className="pair aside">
        <form
          className="panel"
          onSubmit={(event) => {
            event.preventDefault();
            if (stop) return;
            if (isLast) void create();
            else go(step + 1);
          }}
        >
          <div className="body column wide">
            {children}
            {wanted && <Findings objects={wanted.group ? [wanted.group, wanted.lane] : [wanted.lane]} />}
          </div>
          <footer>
            {step > 1 && <Button onPress={() => go(step - 1)}>{t("Back")}</Button>}
            <span className="push line">
              <Action look="primary" why={stop}>
                {isLast ? last : t("Next")}
              </Action>
            </span>
          </footer>
        </form>
        <aside className="column wide" aria-label={t("What will be created")}>
          <h2>{t("What will be created")}</h2>
          {aside}
          <p className="hint">{t("Nothing is changed until the last step.")}</p>
        </aside>
      </div>
    </>
  );
}

/** What is there after a creation failed. */
function outcome(error: unknown): string {
  if (error instanceof HalfCreated) return t("The lane group was created, its lane was not");
  return error instanceof Unsure ? t("Whether anything was created is not known") : t("Nothing was created");
}

/** What the control plane would say of these objects, before they are written. */
function Findings({ objects }: { objects: (LaneGroup | Lane)[] }) {
  const text = JSON.stringify(objects);
  const check = useQuery({
    queryKey: ["/check", text],
    queryFn: () => send<CheckResponse>("POST", "/check", { objects: JSON.parse(text) as unknown }),
    retry: (failures, error) => error instanceof Away && failures < 2,
  });
  const findings = check.data?.findings ?? [];
  if (findings.length === 0) return null;
  return (
    <>
      {findings.map((it) => (
        <Banner key={`${it.field} ${it.remedy}`} mood={it.severity === "error" ? "bad" : "warn"} title={`${it.field}${it.value ? `: ${it.value}` : ""}`}>
          <p>{it.remedy}</p>
        </Banner>
      ))}
    </>
  );
}

function GroupStep({ group, setGroup, names }: { group: GroupDraft; setGroup: (group: GroupDraft) => void; names: ReadonlySet<string> }) {
  const status = useStatus().data;
  const gateways = useObjects("gateways");
  const routes = useObjects("httproutes");
  const services = useServices().data ?? [];
  const instances = useInstances().data ?? [];
  const free = freeName(group.name, names);
  const wrong: Wrong | undefined = names.has(group.name)
    ? { text: t("A lane group named {x} exists; names are unique across namespaces.", { x: group.name }), remedy: { text: t("Use {x}", { x: free }), do: () => setGroup({ ...group, name: free }) } }
    : group.name !== "" && !isGroupName(group.name)
      ? { text: t("Lower-case letters, digits and dashes, at most 63, beginning and ending with a letter or digit.") }
      : undefined;
  const gatewayNames = [...new Set(["edge", ...(status?.gateways.map((it) => it.name) ?? []), ...gateways.objects.map((it: Gateway) => it.metadata.name)])];
  const own = routes.objects.filter((it) => (it.spec.parentRefs ?? []).some((parent) => parent.name === group.gateway)).map((it) => it.metadata.name);
  const applications = known(instances, services);
  return (
    <>
      <Field label={t("Lane group name")} value={group.name} short eager onChange={(name) => setGroup({ ...group, name })} hint={t("Usually a team or a scenario. Lower-case letters, digits and dashes.")} wrong={wrong} />
      <Radios
        legend={t("Entrance type")}
        name="entrance"
        value={group.entrance}
        onChange={(entrance) => setGroup({ ...group, entrance })}
        options={[
          { value: "gateway", text: t("Laneway gateway"), lead: t("Requests are matched where they arrive from outside.") },
          { value: "application", text: t("Application"), lead: t("An application with a sidecar decides for requests that come without a lane, such as Spring Cloud Gateway or Zuul.") },
        ]}
      />
      {group.entrance === "gateway" ? (
        <>
          <Choose label={t("Entrance gateway")} value={group.gateway} options={gatewayNames.map((it) => ({ value: it, text: it }))} onChange={(gateway) => setGroup({ ...group, gateway, routes: [] })} />
          {own.length > 0 && (
            <fieldset className="field">
              <legend>{t("Routes")}</legend>
              <span className="hint">{t("All routes of the gateway, or only some.")}</span>
              <div className="choices tight">
                <Check text={t("All routes")} isOn={group.routes.length === 0} onChange={() => setGroup({ ...group, routes: [] })} />
                {own.map((it) => (
                  <Check key={it} text={it} isOn={group.routes.includes(it)} onChange={(isOn) => setGroup({ ...group, routes: isOn ? [...group.routes, it] : group.routes.filter((other) => other !== it) })} />
                ))}
              </div>
            </fieldset>
          )}
        </>
      ) : (
        <Choose label={t("Application")} value={group.entranceApplication} options={[{ value: "", text: t("Choose") }, ...applications.map((it) => ({ value: it.name, text: it.name }))]} onChange={(entranceApplication) => setGroup({ ...group, entranceApplication })} />
      )}
    </>
  );
}

function Check({ text, lead, isOn, onChange }: { text: string; lead?: string; isOn: boolean; onChange: (isOn: boolean) => void }) {
  return (
    <label className="choice">
      <input type="checkbox" checked={isOn} onChange={(event) => onChange(event.target.checked)} />
      <span>
        <span className="strong">{text}</span> {lead && <span className="hint">{lead}</span>}
      </span>
    </label>
  );
}

function ApplicationsStep({ group, setGroup, others }: { group: GroupDraft; setGroup: (group: GroupDraft) => void; others: readonly LaneGroup[] }) {
  const services = useServices().data ?? [];
  const instances = useInstances().data ?? [];
  const [filter, setFilter] = useState("");
  const all = known(instances, services);
  const shown = all.filter((it) => it.name.toLowerCase().includes(filter.toLowerCase()));
  const inGroups = (name: string) => others.filter((it) => it.spec.applications?.includes(name)).map((it) => it.metadata.name);
  return (
    <>
      <div>
        <h2>{t("Applications of the group")}</h2>
        <p className="hint">{t("Their calls to each other are routed by the lanes. The list is live: what registers now appears here.")}</p>
      </div>
      <div className="tools">
        <input className="input filter" type="search" value={filter} aria-label={t("Filter applications")} placeholder={t("Filter applications")} onChange={(event) => setFilter(event.target.value)} />
        <span className="push small quiet">{t("{n} chosen", { n: group.applications.length })}</span>
      </div>
      {all.length === 0 ? (
        <Empty title={t("No application is known yet")}>
          <p>{t("An application that is not in the list has not registered with any source.")}</p>
        </Empty>
      ) : (
        <fieldset className="field">
          <legend className="unseen">{t("Applications")}</legend>
          <div className="choices tight">
            {shown.map((it) => {
              const groups = inGroups(it.name);
              const lead = [t("{n} base", { n: it.base }), t("{n} tagged", { n: it.tagged }), ...(groups.length > 0 ? [t("in group {x}", { x: groups.join(", ") })] : [])].join(" · ");
              const isOn = group.applications.includes(it.name);
              return <Check key={it.name} text={it.name} lead={lead} isOn={isOn} onChange={(on) => setGroup({ ...group, applications: on ? [...group.applications, it.name] : group.applications.filter((other) => other !== it.name) })} />;
            })}
          </div>
        </fieldset>
      )}
      <p className="hint">{t("The order in which they are chosen is the order of the diagram's columns: choose them as they call each other.")}</p>
    </>
  );
}

function TagStep({ lane, setLane, applications, taken: used }: { lane: LaneDraft; setLane: (lane: LaneDraft) => void; applications: readonly string[]; taken: readonly string[] }) {
  const instances = useInstances().data ?? [];
  const seen = new Map<string, number>();
  for (const it of instances) if (it.tag && applications.includes(it.application)) seen.set(it.tag, (seen.get(it.tag) ?? 0) + 1);
  const tags = [...seen].map(([tag, count]) => `${tag} (${count})`).join(", ");
  const wrong: Wrong | undefined = used.includes(lane.tag)
    ? { text: t("The group has a lane {x} already.", { x: lane.tag }) }
    : lane.tag !== "" && !isTag(lane.tag)
      ? { text: t("Letters, digits, “-”, “_” and “.”, at most 63; not “base”.") }
      : undefined;
  return (
    <>
      <Field label={t("Lane tag")} mono short eager value={lane.tag} onChange={(tag) => setLane({ ...lane, tag })} wrong={wrong} hint={tags ? t("The tag that the new version's instances carry. Tags seen now: {x}.", { x: tags }) : t("The tag that the new version's instances carry.")} />
      <Matching tag={wrong ? "" : lane.tag} applications={applications} instances={instances} onUse={(tag) => setLane({ ...lane, tag })} />
    </>
  );
}

function TrafficStep({ lane, setLane, others, locked, url, tags }: { lane: LaneDraft; setLane: (lane: LaneDraft) => void; others: number; locked?: string | undefined; url: string; tags: readonly string[] }) {
  const set = (rule: Draft) => setLane({ ...lane, rule });
  return (
    <>
      <ModeForm draft={lane.rule} onChange={set} locked={locked} />
      {!locked && <p className="hint">{t("The first lane decides the mode of the group; it is free again when the group has no lanes.")}</p>}
      <h2>{lane.rule.mode === "content" ? t("Canary release condition") : t("Flow ratio")}</h2>
      <RuleForm draft={lane.rule} onChange={set} others={others} url={url} />
      {tags.length > 0 && <FallbackForm value={lane.fallback} tags={tags} onChange={(fallback) => setLane({ ...lane, fallback })} />}
      <Switch isOn={lane.enabled} onChange={(enabled) => setLane({ ...lane, enabled })} label={t("Enable after creation")} />
      <p className="hint">{t("Matching requests enter as soon as all data planes behind the lane have acknowledged it, or after 0.5 s.")}</p>
    </>
  );
}
