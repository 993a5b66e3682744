// A lane group: where its requests go, hop by hop.
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useState } from "react";
import type { Lane, LaneGroup, Share } from "../api/client";
import { setEnabled } from "../live/changes";
import { useConnection, useInstances, useObjects, useShare, useTop } from "../live/hooks";
import { useWhyNot } from "../live/may";
import { share } from "../logic/figures";
import { entranceText, entryText, inOrder, instancesOf, isEnabled, isPaused, isWorse, marks, modeOf, tagOf, trouble } from "../logic/lanes";
import { deleteCommand } from "../logic/write";
import { DeleteDialog } from "../parts/delete";
import { Dialog } from "../parts/dialog";
import { InstanceTable } from "../parts/instances";
import { RollBack } from "../parts/roll-back";
import { NotFound, usePlace } from "../parts/shell";
import { Standing, worseText } from "../parts/verdict";
import { Badge, Banner, Bones, Button, Empty, Fact, Head, LinkButton, Panel, Segments, State, Switch, Table } from "../parts/ui";
import { Diagram } from "../swim/diagram";
import type { View } from "../swim/geometry";
import { type Swim, swim } from "../swim/model";
import { counted, t } from "../words";

const groupRoute = getRouteApi("/lanes/$group");

/** Lanes that are worse than base, told one by one above the diagram. */
const WORSE_MAX = 3;

export function GroupPage() {
  const { group: name } = groupRoute.useParams();
  usePlace({ text: t("Full-link canary"), to: "/lanes" }, { text: name });
  const groups = useObjects("lanegroups");
  const lanes = useObjects("lanes");
  if (!groups.ready || !lanes.ready) return <Bones label={t("Loading lane groups")} rows={6} />;
  const group = groups.objects.find((it) => it.metadata.name === name);
  if (!group) return <NotFound what={t("There is no lane group named {x}.", { x: name })} />;
  return <Group group={group} lanes={lanes.objects} />;
}

function Group({ group, lanes }: { group: LaneGroup; lanes: readonly Lane[] }) {
  const name = group.metadata.name;
  const own = inOrder(lanes, group);
  const instances = useInstances().data ?? [];
  const picture = swim(group, lanes, instances);
  const mode = modeOf(own);
  const worse = own.filter(isWorse);
  const live = group.status?.live;
  const top = useTop(name).data;
  const [opened, setOpened] = useState<{ application: string; tag: string | null }>();
  const [isDeleting, setDeleting] = useState(false);
  return (
    <div className="stackline">
      <Head
        title={name}
        beside={mode && <span className="chip plain">{mode === "ratio" ? t("By ratio") : t("By content")}</span>}
        actions={
          <>
            <LinkButton to="/explain" search={explained(group, own)} icon="explain">
              {t("Explain a request")}
            </LinkButton>
            <LinkButton to="/new/lane" search={{ group: name }} look="primary" icon="plus">
              {own.length === 0 ? t("Create first lane") : t("Create lane")}
            </LinkButton>
          </>
        }
        facts={
          <>
            <Fact icon="gateway">
              {t("Entrance")} <strong>{entranceText(group)}</strong>
            </Fact>
            <Fact icon="apps">{counted(group.spec.applications?.length ?? 0, "1 application", "{n} applications")}</Fact>
            {live && <Fact icon="ok">{t("Live on {n} of {all} data planes", { n: live.acknowledged, all: live.dataPlanes })}</Fact>}
          </>
        }
      />
      {worse.slice(0, WORSE_MAX).map((lane) => {
        const { title, text } = worseText(lane);
        return (
          <Banner
            key={tagOf(lane)}
            mood="bad"
            title={title}
            actions={
              <>
                <LinkButton to="/lanes/$group/$tag" params={{ group: name, tag: tagOf(lane) }}>
                  {t("Compare")}
                </LinkButton>
                <RollBack lane={lane} />
              </>
            }
          >
            <p>{text}</p>
          </Banner>
        );
      })}
      {worse.length > WORSE_MAX && <Banner mood="bad" title={counted(worse.length - WORSE_MAX, "1 more lane is worse than base", "{n} more lanes are worse than base")} />}
      {trouble(group).map((it) => (
        <Banner key={it.type} mood="warn" title={it.type}>
          <p>{it.message}</p>
        </Banner>
      ))}
      {own.length === 0 && (
        <Banner mood="info" title={t("No lane yet")} actions={<LinkButton small look="primary" to="/new/lane" search={{ group: name }}>{t("Create first lane")}</LinkButton>}>
          <p>{t("All requests of {g} go to base. The mode of the first lane, by content or by ratio, becomes the mode of the group.", { g: name })}</p>
        </Banner>
      )}
      <SwimPanel picture={picture} group={group} instances={instances} top={top} onOpen={(application, tag) => setOpened({ application, tag })} />
      <LaneTable group={group} lanes={own} />
      <Applications picture={picture} onOpen={(application, tag) => setOpened({ application, tag })} />
      <div className="line">
        <Button look="danger" onPress={() => setDeleting(true)}>
          {t("Delete group")}
        </Button>
        {own.length > 0 && <span className="hint">{counted(own.length, "A group with a lane cannot be deleted. Delete its lane first.", "A group with lanes cannot be deleted. Delete its {n} lanes first.")}</span>}
      </div>
      <DeleteDialog
        isOpen={isDeleting}
        onClose={() => setDeleting(false)}
        title={t("Delete group {x}", { x: name })}
        what={t("Its entrances and its list of applications are removed. Instances keep running.")}
        why={own.length > 0 ? counted(own.length, "A group with a lane cannot be deleted. Delete its lane first.", "A group with lanes cannot be deleted. Delete its {n} lanes first.") : undefined}
        plural="lanegroups"
        object={group}
        command={deleteCommand("lanegroup", group)}
        goTo="/lanes"
      />
      <Dialog title={opened ? `${opened.application} · ${opened.tag ?? t("base")}` : ""} isOpen={opened !== undefined} onClose={() => setOpened(undefined)} broad>
        {opened && <InstanceTable instances={instancesOf(instances, opened.application, opened.tag)} />}
        <div className="ends">
          <Button onPress={() => setOpened(undefined)}>{t("Close")}</Button>
        </div>
      </Dialog>
    </div>
  );
}

/** A request that the first lane by header takes, to begin with. */
function explained(group: LaneGroup, lanes: readonly Lane[]) {
  const gateway = group.spec.entrances?.find((it) => it.gateway)?.gateway;
  const header = lanes.flatMap((lane) => lane.spec.entry.content?.conditions ?? []).find((it) => it.header && it.operator === "==");
  return { ...(gateway ? { gateway } : {}), ...(header ? { headers: `${header.header}: ${String(header.value)}` } : {}) };
}

const VIEWS = ["auto", "detailed", "compact", "overview"] as const;

function SwimPanel({ picture, group, instances, top, onOpen }: { picture: Swim; group: LaneGroup; instances: Parameters<typeof Diagram>[0]["instances"]; top: Parameters<typeof Diagram>[0]["top"]; onOpen: Parameters<typeof Diagram>[0]["onOpen"] }) {
  const { view = "auto" } = groupRoute.useSearch();
  const navigate = useNavigate();
  const name = group.metadata.name;
  const wanted = VIEWS.find((it) => it === view) ?? "auto";
  const names: Record<View | "auto", string> = { auto: t("Auto"), detailed: t("Detailed"), compact: t("Compact"), overview: t("Overview") };
  const show = (next: View | "auto") => void navigate({ to: "/lanes/$group", params: { group: name }, search: next === "auto" ? {} : { view: next }, replace: true });
  return (
    <Panel
      title={t("Swim lanes")}
      lead={t("Requests enter at the top row that matches; the rest is base. A hop that a lane cannot serve falls back, and the request stays in its lane.")}
      actions={<div className="views"><Segments label={t("View")} value={wanted} onChange={show} options={VIEWS.map((it) => ({ value: it, text: names[it] }))} /></div>}
    >
      {picture.applications.length === 0 ? (
        <Empty title={t("No application yet")} />
      ) : (
        <Diagram swim={picture} instances={instances} top={top} wanted={wanted} entrance={entranceText(group)} group={name} onOpen={onOpen} />
      )}
    </Panel>
  );
}

function LaneTable({ group, lanes }: { group: LaneGroup; lanes: readonly Lane[] }) {
  const numbers = marks(lanes);
  const { away } = useConnection();
  const forbidden = useWhyNot("operator", group.metadata.namespace);
  const why = forbidden ?? (away ? t("The control plane does not answer.") : undefined);
  const name = group.metadata.name;
  const shares = useShare(name).data;
  return (
    <Panel title={t("Traffic distribution")} lead={<>{t("Lanes are tried from top to bottom; the first that matches takes the request.")}{forbidden && ` ${forbidden}`}</>}>
      <Table columns={[t("Order"), t("Lane"), t("Enters"), t("Falls back to"), { right: t("Share of the last minute") }, t("Against base"), t("Live on"), t("Enabled")]} middle>
        {lanes.map((lane, index) => {
          const tag = tagOf(lane);
          const live = lane.status?.live;
          return (
            <tr key={tag}>
              <td data-label={t("Order")} className="figure">
                {index + 1}
              </td>
              <th scope="row">
                <Link to="/lanes/$group/$tag" params={{ group: name, tag }}>
                  <Badge tag={tag} number={numbers.get(tag) ?? 1} off={!isEnabled(lane)} />
                </Link>
              </th>
              <td data-label={t("Enters")}>
                <Entry lane={lane} />
              </td>
              <td data-label={t("Falls back to")}>{fallbackText(lane)}</td>
              <td data-label={t("Share of the last minute")} className="right figure">
                <Shared of={shares} tag={tag} />
              </td>
              <td data-label={t("Against base")}>
                <Standing lane={lane} />
              </td>
              <td data-label={t("Live on")} className="figure">
                {live ? t("{n} of {all}", { n: live.acknowledged, all: live.dataPlanes }) : "–"}
              </td>
              <td data-label={t("Enabled")}>
                <Switch isOn={isEnabled(lane)} why={why} onChange={(isOn) => void setEnabled(lane, isOn)} label={<span className="unseen">{t("Enable {l}", { l: tag })}</span>} />
              </td>
            </tr>
          );
        })}
        <tr>
          <td data-label={t("Order")} />
          <th scope="row">
            <Badge tag={t("base")} number={null} />
          </th>
          <td data-label={t("Enters")} className="second">
            {t("everything else")}
          </td>
          <td />
          <td data-label={t("Share of the last minute")} className="right figure">
            <Shared of={shares} tag="" />
          </td>
          <td data-label={t("Against base")} className="second">
            {t("reference")}
          </td>
          <td />
          <td data-label={t("Enabled")} className="second">
            {t("always")}
          </td>
        </tr>
      </Table>
    </Panel>
  );
}

/** A lane's share of the requests that entered the group, and what it should be. */
function Shared({ of, tag }: { of: Share | undefined; tag: string }) {
  if (!of) return "–";
  const told = of.lanes.find((it) => it.lane === tag);
  const all = of.basis.requests;
  return (
    <span title={t("{n} of {all} requests", { n: told?.requests ?? 0, all })}>
      {all === 0 ? "–" : share(told?.share ?? 0)}
      {told?.expected != null && <small className="second"> / {share(told.expected)}</small>}
    </span>
  );
}

export function Entry({ lane }: { lane: Lane }) {
  return (
    <span className="column tight">
      {isPaused(lane) && <State mood="off">{t("Paused")}</State>}
      <code className="break">{entryText(lane)}</code>
    </span>
  );
}

export function fallbackText(lane: Lane): string {
  const { fallback } = lane.spec;
  if (fallback === "none") return t("nothing (strict)");
  return [...(fallback ?? []), t("base")].join(", ");
}

function Applications({ picture, onOpen }: { picture: Swim; onOpen: (application: string, tag: string | null) => void }) {
  const base = picture.rows.at(-1);
  return (
    <Panel title={t("Applications")} lead={t("Usable instances per lane, as the sources see them now.")}>
      <Table columns={[t("Application"), { right: t("Base") }, t("Tagged")]} middle>
        {picture.applications.map((application, column) => {
          const own = picture.rows.slice(0, -1).flatMap((row) => {
            const hop = row.cells[column]?.hop;
            return hop?.by === "own" && row.tag ? [{ tag: row.tag, number: row.number, count: hop.instances }] : [];
          });
          const count = base?.cells[column]?.hop;
          return (
            <tr key={application}>
              <th scope="row">
                <Link to="/applications/$application" params={{ application }}>
                  {application}
                </Link>
              </th>
              <td data-label={t("Base")} className="right figure">
                <Button className="bare" onPress={() => onOpen(application, null)} aria-label={t("Instances of {x}", { x: `${application}, ${t("base")}` })}>
                  {count?.by === "own" ? count.instances : 0}
                </Button>
              </td>
              <td data-label={t("Tagged")}>
                <div className="line">
                  {own.length === 0 && <span className="quiet">{t("none, base serves")}</span>}
                  {own.map((it) => (
                    <Button key={it.tag} className="bare" onPress={() => onOpen(application, it.tag)} aria-label={t("Instances of {x}", { x: `${application}, ${it.tag}` })}>
                      <Badge tag={`${it.tag} ${it.count}`} number={it.number} />
                    </Button>
                  ))}
                </div>
              </td>
            </tr>
          );
        })}
      </Table>
    </Panel>
  );
}

