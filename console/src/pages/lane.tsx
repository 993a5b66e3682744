// One lane: its rule, who is in it, how far it is live, and what can be changed.
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import type { Figures, Instance, Lane, LaneGroup, Verdict } from "../api/client";
import { pausedText, setApplication, setEnabled } from "../live/changes";
import { useCompare, useConnection, useInstances, useObjects, useVerdict } from "../live/hooks";
import { useWhyNot } from "../live/may";
import { share, span } from "../logic/figures";
import { entranceText, inOrder, instancesOf, isEnabled, isPaused, isSwitchedOff, marks, switched, tagOf, trouble } from "../logic/lanes";
import { applyCommand, deleteCommand, laneCommand, yaml } from "../logic/write";
import { BasisNote } from "../parts/basis";
import { DeleteDialog } from "../parts/delete";
import { EditRule } from "../parts/edit-rule";
import { InstanceTable } from "../parts/instances";
import { Pause } from "../parts/pause";
import { NotFound, usePlace } from "../parts/shell";
import { JudgedState, VerdictPanel } from "../parts/verdict";
import { Badge, Banner, Bones, Button, Fact, Head, LinkButton, Panel, State, Switch, Table, Writes } from "../parts/ui";
import { hopReading } from "../swim/reading";
import { type Cell, swim } from "../swim/model";
import { t } from "../words";
import { Entry, fallbackText } from "./group";

const laneRoute = getRouteApi("/lanes/$group/$tag");

export function LanePage() {
  const { group: groupName, tag } = laneRoute.useParams();
  usePlace({ text: t("Full-link canary"), to: "/lanes" }, { text: groupName, to: `/lanes/${groupName}` }, { text: tag });
  const groups = useObjects("lanegroups");
  const lanes = useObjects("lanes");
  if (!groups.ready || !lanes.ready) return <Bones label={t("Loading lane groups")} rows={6} />;
  const group = groups.objects.find((it) => it.metadata.name === groupName);
  const lane = group && inOrder(lanes.objects, group).find((it) => tagOf(it) === tag);
  if (!group || !lane) return <NotFound what={t("There is no lane {x}.", { x: `${groupName}/${tag}` })} />;
  return <LaneView key={lane.metadata.uid ?? lane.metadata.name} group={group} lane={lane} lanes={lanes.objects} />;
}

function LaneView({ group, lane, lanes }: { group: LaneGroup; lane: Lane; lanes: readonly Lane[] }) {
  const { edit } = laneRoute.useSearch();
  const navigate = useNavigate();
  const own = inOrder(lanes, group);
  const tag = tagOf(lane);
  const name = `${group.metadata.name}/${tag}`;
  const number = marks(own).get(tag) ?? 1;
  const instances = useInstances().data ?? [];
  const row = swim(group, lanes, instances).rows.find((it) => it.tag === tag);
  const [isDeleting, setDeleting] = useState(false);
  const params = { group: group.metadata.name, tag };
  const setEditing = (isOn: boolean) => void navigate({ to: "/lanes/$group/$tag", params, search: isOn ? { edit: "rule" } : {}, replace: true });
  const live = lane.status?.live;
  const verdict = useVerdict(group.metadata.name, tag, isEnabled(lane)).data;
  return (
    <div className="stackline">
      <Head
        title={<Badge tag={tag} number={number} off={!isEnabled(lane)} big />}
        beside={<span className="quiet">{t("lane of {g}", { g: group.metadata.name })}</span>}
        actions={
          <>
            <LinkButton icon="tap" to="/tap" search={{ group: group.metadata.name, lane: tag }}>
              {t("Tap requests")}
            </LinkButton>
            <LinkButton icon="explain" to="/explain" search={explained(group, lane)}>
              {t("Explain a request")}
            </LinkButton>
            <Pause lane={lane} />
            <LinkButton icon="up" look="primary" to="/lanes/$group/$tag/promote" params={params}>
              {t("Promote")}
            </LinkButton>
          </>
        }
        facts={
          <>
            <Fact icon="gateway">
              {t("Entrance")} <strong>{entranceText(group)}</strong>
            </Fact>
            <Fact icon="lanes">{t("tried as number {n} of {all}", { n: own.indexOf(lane) + 1, all: own.length })}</Fact>
            <Fact icon="back">
              {t("Falls back to")} <strong>{fallbackText(lane)}</strong>
            </Fact>
          </>
        }
      />
      {trouble(lane).map((it) => (
        <Banner key={it.type} mood="warn" title={it.type}>
          <p>{it.message}</p>
        </Banner>
      ))}
      <VerdictPanel lane={lane} verdict={verdict} />
      <Compared group={group.metadata.name} tag={tag} verdict={verdict} />
      <div className="pair aside">
        {edit === "rule" ? (
          <EditRule lane={lane} lanes={own} onDone={() => setEditing(false)} />
        ) : (
          <Panel title={t("Rule")} lead={t("Which requests enter the lane.")} actions={<Button onPress={() => setEditing(true)}>{t("Edit rule")}</Button>}>
            <dl className="facts-list body">
              <dt>{t("Enters")}</dt>
              <dd>
                <Entry lane={lane} />
              </dd>
              <dt>{t("Canary release mode")}</dt>
              <dd>{lane.spec.entry.ratio ? t("By ratio") : t("By content")}</dd>
              <dt>{t("Priority")}</dt>
              <dd className="figure">{lane.spec.priority ?? 0}</dd>
              <dt>{t("Falls back to")}</dt>
              <dd>{fallbackText(lane)}</dd>
            </dl>
          </Panel>
        )}
        <Standing lane={lane} live={live} />
      </div>
      <Applications lane={lane} cells={row?.cells ?? []} instances={instances} />
      <div className="line">
        <Button look="danger" onPress={() => setDeleting(true)}>
          {t("Delete lane")}
        </Button>
      </div>
      <DeleteDialog
        isOpen={isDeleting}
        onClose={() => setDeleting(false)}
        title={t("Delete lane {x}", { x: name })}
        what={isEnabled(lane) ? t("Its requests go to base at their next hop. Its rule is removed; instances keep running, tagged {tag}.", { tag }) : t("It is disabled; no requests are affected. Instances keep running, tagged {tag}.", { tag })}
        plural="lanes"
        object={lane}
        command={deleteCommand("lane", lane)}
        typed={isEnabled(lane) ? tag : undefined}
        goTo={`/lanes/${group.metadata.name}`}
      />
    </div>
  );
}

/** The lane's own instances beside base, application by application, in figures. */
function Compared({ group, tag, verdict }: { group: string; tag: string; verdict: Verdict | undefined }) {
  const compared = useCompare(group, tag, "15m").data;
  const both = (of: (figures: Figures) => string | number, it: { lane: Figures; base: Figures }) => (
    <span className="beside">
      {of(it.lane)}
      <span className="small second">{t("base {x}", { x: of(it.base) })}</span>
    </span>
  );
  return (
    <Panel title={t("Compare with base")} lead={t("The lane's own instances, below them base, over the last 15 minutes. Few requests say little: the range is where the true share of errors is, in 95 of 100 cases.")}>
      {!compared ? (
        <Bones label={t("Loading figures")} rows={2} />
      ) : (
        <>
          <Table columns={[t("Application"), { right: t("Requests") }, { right: t("Errors") }, t("Range of errors"), { right: "p50" }, { right: "p99" }, { right: t("Fallback") }, t("Verdict")]}>
            {compared.applications.map((it) => (
              <tr key={it.application} className={it.application === verdict?.culprit ? "flag" : ""}>
                <th scope="row">
                  <Link to="/applications/$application" params={{ application: it.application }}>
                    {it.application}
                  </Link>
                </th>
                <td data-label={t("Requests")} className="right figure">
                  {both((of) => of.requests, it)}
                </td>
                <td data-label={t("Errors")} className="right figure">
                  {both((of) => share(of.errorRatio), it)}
                </td>
                <td data-label={t("Range of errors")} className="figure">
                  {both((of) => range(of.errorRatioRange), it)}
                </td>
                <td data-label="p50" className="right figure">
                  {both((of) => span(of.p50Ms), it)}
                </td>
                <td data-label="p99" className="right figure">
                  {both((of) => span(of.p99Ms), it)}
                </td>
                <td data-label={t("Fallback")} className="right figure">
                  {it.fallback}
                </td>
                <td data-label={t("Verdict")}>
                  <JudgedState of={verdict?.applications.find((judged) => judged.application === it.application)} culprit={verdict?.culprit} fallback={it.fallback} />
                </td>
              </tr>
            ))}
          </Table>
          <div className="body">
            <BasisNote basis={compared.basis} />
          </div>
        </>
      )}
    </Panel>
  );
}

function range(of: readonly number[] | null | undefined): string {
  const [low, high] = of ?? [];
  return low == null || high == null ? "–" : `${share(low)} – ${share(high)}`;
}

function explained(group: LaneGroup, lane: Lane) {
  const gateway = group.spec.entrances?.find((it) => it.gateway)?.gateway;
  const headers = (lane.spec.entry.content?.conditions ?? []).filter((it) => it.header && it.operator === "==").map((it) => `${it.header}: ${String(it.value)}`);
  return { ...(gateway ? { gateway } : {}), ...(headers.length > 0 ? { headers: headers.join("\n") } : {}) };
}

function Standing({ lane, live }: { lane: Lane; live: NonNullable<Lane["status"]>["live"] }) {
  const { away } = useConnection();
  const forbidden = useWhyNot("operator", lane.metadata.namespace);
  const isOn = isEnabled(lane);
  const paused = isPaused(lane);
  const isEverywhere = live && live.acknowledged >= live.dataPlanes;
  return (
    <Panel title={t("Status")}>
      <div className="body column wide">
        <Switch isOn={isOn} onChange={(on) => void setEnabled(lane, on)} label={isOn ? t("Enabled") : t("Disabled")} why={forbidden ?? (away ? "" : undefined)} />
        {forbidden && <p className="second">{forbidden}</p>}
        <p className="second">{away ? t("The control plane does not answer.") : isOn ? pausedText(lane, paused) : t("All its requests go to base.")}</p>
        {isOn && paused && <State mood="off">{t("Paused at the entrance")}</State>}
        <Writes
          title={paused ? t("What resuming writes, and as a command") : t("What pausing writes, and as a command")}
          yaml={yaml([{ ...lane, spec: { ...lane.spec, entry: { ...lane.spec.entry, paused: !paused } } }])}
          command={laneCommand(lane, paused ? "resume" : "pause")}
        />
        {live && (
          <div className="column">
            <State mood={isEverywhere ? "ok" : "wait"}>
              <span className="figure">{t("Live on {n} of {all} data planes", { n: live.acknowledged, all: live.dataPlanes })}</span>
            </State>
            {(live.disconnected ?? 0) > 0 && <span className="small second">{t("{n} of them are disconnected and go on with what they had.", { n: live.disconnected ?? 0 })}</span>}
          </div>
        )}
      </div>
    </Panel>
  );
}

function Applications({ lane, cells, instances }: { lane: Lane; cells: readonly Cell[]; instances: readonly Instance[] }) {
  const { away } = useConnection();
  const forbidden = useWhyNot("operator", lane.metadata.namespace);
  const tag = tagOf(lane);
  return (
    <Panel title={t("Application status in the lane")} lead={t("What serves the hops of its requests. An application that is switched off here uses the fallback, as if the lane had no instance of it.")}>
      <Table columns={[t("Application"), t("Its hop"), t("In the lane")]}>
        {cells.map((cell) => {
          const isOff = isSwitchedOff(lane, cell.application);
          const own = instancesOf(instances, cell.application, tag);
          const next = { ...lane, spec: { ...lane.spec, applications: switched(lane, cell.application, isOff) } };
          return (
            <tr key={cell.application}>
              <th scope="row">{cell.application}</th>
              <td data-label={t("Its hop")}>
                <div className="column wide">
                  <State mood={cell.hop.by === "own" ? "ok" : cell.hop.by === "nobody" ? "bad" : "off"}>{hopReading(cell)}</State>
                  {own.length > 0 && (
                    <details>
                      <summary className="small second">{t("Instances of {x}", { x: `${cell.application}, ${tag}` })}</summary>
                      <InstanceTable instances={own} />
                    </details>
                  )}
                </div>
              </td>
              <td data-label={t("In the lane")}>
                <div className="column wide">
                  <Switch isOn={!isOff} onChange={(isOn) => void setApplication(lane, cell.application, isOn)} label={<span className="unseen">{t("{x} takes part in the lane", { x: cell.application })}</span>} why={forbidden ?? (away ? "" : undefined)} />
                  <Writes yaml={yaml([next])} command={applyCommand([next])} />
                </div>
              </td>
            </tr>
          );
        })}
      </Table>
    </Panel>
  );
}
