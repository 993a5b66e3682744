// Tap: single requests of a lane while they pass, each with its hops. Only while somebody looks, and only on his word.
import { getRouteApi } from "@tanstack/react-router";
import { useState, useSyncExternalStore } from "react";
import type { TapStatus, TappedHop } from "../api/client";
import { useObjects } from "../live/hooks";
import { useWhyNot } from "../live/may";
import { type Numbered, Tap, type Tapped } from "../live/tap";
import { share, span } from "../logic/figures";
import { inOrder, marks, tagOf } from "../logic/lanes";
import { word } from "../logic/write";
import { Choose } from "../parts/fields";
import { laneClass } from "../parts/icons";
import { usePlace } from "../parts/shell";
import { Action, Badge, Banner, Bones, Button, Code, Empty, Head, LinkButton, Panel, Table } from "../parts/ui";
import { counted, t } from "../words";

const tapRoute = getRouteApi("/tap");

const BASE = "base";
const RATES = ["5", "20", "50", "100"];
const RATE_DEFAULT = "20";

type Search = Partial<Record<"group" | "lane" | "application" | "rate", string>>;

function command({ group, lane, application, rate }: Search): string {
  return [
    "laneway tap",
    lane === BASE ? `${word(group ?? "")} --base` : word(`${group ?? ""}/${lane ?? ""}`),
    ...(application ? [`--application ${word(application)}`] : []),
    ...(rate && rate !== RATE_DEFAULT ? [`--rate ${word(rate)}`] : []),
  ].join(" ");
}

export function TapPage() {
  usePlace({ text: t("Tap") });
  const search = tapRoute.useSearch();
  const groups = useObjects("lanegroups");
  const lanes = useObjects("lanes");
  if (!groups.ready || !lanes.ready) return <Bones label={t("Loading lane groups")} rows={6} />;
  const group = groups.objects.find((it) => it.metadata.name === search.group) ?? groups.objects[0];
  const head = <Head title={t("Tap")} lead={t("Single requests while they pass, with every hop. Values of queries, headers and bodies are not shown.")} />;
  if (!group) {
    return (
      <div className="stackline">
        {head}
        <section className="panel">
          <Empty title={t("No lane group yet")} actions={<LinkButton look="primary" to="/new/lane-group">{t("Create lane group")}</LinkButton>} />
        </section>
      </div>
    );
  }
  const own = inOrder(lanes.objects, group).map(tagOf);
  const lane = search.lane !== undefined && [...own, BASE].includes(search.lane) ? search.lane : (own[0] ?? BASE);
  const wanted = { group: group.metadata.name, lane, ...(search.application ? { application: search.application } : {}), rate: search.rate ?? RATE_DEFAULT };
  return (
    <div className="stackline">
      {head}
      <Watched wanted={wanted} groups={groups.objects.map((it) => it.metadata.name)} lanes={own} members={group.spec.applications ?? []} namespace={group.metadata.namespace ?? "default"} />
    </div>
  );
}

interface Chosen {
  group: string;
  lane: string;
  application?: string;
  rate: string;
}

function Watched({ wanted, groups, lanes, members, namespace }: { wanted: Chosen; groups: string[]; lanes: string[]; members: readonly string[]; namespace: string }) {
  const navigate = tapRoute.useNavigate();
  // What is chosen otherwise is another tap; the choices stay where they are, with whoever is at one of them.
  const text = JSON.stringify(wanted);
  const [of, setOf] = useState(() => ({ text, tap: new Tap() }));
  if (of.text !== text) setOf({ text, tap: new Tap() });
  const tap = of.tap;
  const tapped = useSyncExternalStore(tap.subscribe, tap.snapshot);
  const isOff = tapped.state === "off";
  const why = useWhyNot("operator", namespace);
  const choose = (change: Search) => void navigate({ search: { ...wanted, ...change }, replace: true });
  const same = (it: string) => ({ value: it, text: it });
  return (
    <>
      <Panel
        title={t("What is tapped")}
        lead={t("That you tap is in the audit and an event of the group. Nothing of what is shown is kept.")}
        foot={
          <Action look="primary" why={isOff ? why : undefined} onPress={() => (isOff ? tap.start(wanted) : tap.stop())}>
            {isOff ? t("Start") : t("Stop")}
          </Action>
        }
      >
        <div className="body tap-choices">
          <Choose label={t("Lane group")} value={wanted.group} options={groups.map(same)} onChange={(group) => choose({ group, lane: undefined, application: undefined })} />
          <Choose label={t("Lane")} value={wanted.lane} options={[...lanes.map(same), { value: BASE, text: t("base") }]} onChange={(lane) => choose({ lane })} />
          <Choose label={t("Requests that reach")} value={wanted.application ?? ""} options={[{ value: "", text: t("any application") }, ...members.map(same)]} onChange={(application) => choose({ application: application || undefined })} />
          <Choose label={t("Requests per second, at most")} value={wanted.rate} options={[...new Set([...RATES, wanted.rate])].map(same)} onChange={(rate) => choose({ rate })} />
        </div>
        <div className="body">
          <Code text={command(wanted)} label={t("Command")} />
        </div>
      </Panel>
      {tapped.why && (
        <div role="alert">
          <Banner mood="warn" title={t("The tap is over")}>
            <p className="break">{tapped.why}</p>
          </Banner>
        </div>
      )}
      <Requests tapped={tapped} wanted={wanted} />
    </>
  );
}

/** How much of what passes is seen. */
function Standing({ tapped }: { tapped: Tapped }) {
  const status = tapped.status;
  if (!status) return <>{tapped.state === "starting" ? t("Waiting for data planes …") : t("Not tapping.")}</>;
  return <>{standing(status).join(" ")}</>;
}

function standing(status: TapStatus): string[] {
  return [
    counted(status.dataPlanes, "{n} data plane tells.", "{n} data planes tell."),
    ...(status.silentDataPlanes > 0 ? [t("{n} cannot: Java agents, or of an older release.", { n: status.silentDataPlanes })] : []),
    ...(status.share < 1 ? [t("More pass than are shown: {s} of them.", { s: share(status.share) })] : []),
    ...(status.dropped + status.missed > 0 ? [t("Dropped so far: {n}.", { n: status.dropped + status.missed })] : []),
    ...(status.excess > 0 ? [t("{who} tells more than one data plane may: {n} not taken.", { who: status.excessOf, n: status.excess })] : []),
  ];
}

function Requests({ tapped, wanted }: { tapped: Tapped; wanted: Chosen }) {
  // While one is looked at, the list stands still.
  const [kept, setHeld] = useState<{ run: number; at: number; requests: readonly Numbered[]; count: number }>();
  const held = kept?.run === tapped.run ? kept : undefined;
  const requests = held?.requests ?? tapped.requests;
  const open = held && requests.find((it) => it.number === held.at);
  const waiting = held ? Math.max(tapped.count - held.count, 0) : 0;
  return (
    <div className="pair tapped">
      <Panel
        title={t("Requests")}
        lead={<span role="status"><Standing tapped={tapped} /></span>}
        actions={
          held && (
            <Button small onPress={() => setHeld(undefined)}>
              {waiting > 0 ? t("Show {n} new", { n: waiting }) : t("Go on")}
            </Button>
          )
        }
      >
        <div className="tap-rows">
          {requests.length === 0 ? (
            <Empty title={tapped.state === "off" ? t("Nothing is tapped") : t("No request yet")} />
          ) : (
            <Table columns={[t("Time"), t("Request"), t("Status"), { right: t("Took") }]}>
              {requests.map((it) => (
                <Row key={it.number} of={it} group={wanted.group} isOpen={it.number === held?.at} onOpen={() => setHeld(held ? { ...held, at: it.number } : { run: tapped.run, at: it.number, requests: tapped.requests, count: tapped.count })} />
              ))}
            </Table>
          )}
        </div>
      </Panel>
      <section className="panel" aria-label={t("Hops")}>
        {open ? <Hops of={open} /> : <Empty title={t("Choose a request to see its hops")} />}
      </section>
    </div>
  );
}

/** What an outcome is in words, in the colour of what it means. */
function outcome(hop: TappedHop): { text: string; look: string } {
  switch (hop.outcome) {
    case "lane":
      return { text: t("in its lane"), look: "second" };
    case "fallback":
      return { text: t("fell back"), look: "warn" };
    case "base":
      return { text: t("base"), look: "second" };
    case "denied":
      return { text: t("denied"), look: "bad" };
    case "cut":
      return { text: t("cut off"), look: "bad" };
    default:
      return { text: t("failed"), look: "bad" };
  }
}

function StatusCode({ status }: { status: number }) {
  return <span className={status === 0 || status >= 500 ? "bad figure" : "figure"}>{status === 0 ? t("none") : status}</span>;
}

function Row({ of, isOpen, onOpen, group }: { of: Numbered; isOpen: boolean; onOpen: () => void; group: string }) {
  const mark = useMark();
  const { request } = of;
  return (
    <tr className={isOpen ? "here" : ""}>
      <td data-label={t("Time")} className="figure">
        {request.time.slice(11, 23)}
      </td>
      <th scope="row">
        <button type="button" className="tap-open" aria-pressed={isOpen} onClick={onOpen}>
          {`${request.method} ${request.path}`}
        </button>
        <span className="line tight">
          {request.hops.map((hop, at) => (
            <Badge key={at} tag={hop.application || "?"} number={mark(group, hop.tag)} off={hop.outcome === "failed" || hop.outcome === "cut"} />
          ))}
        </span>
      </th>
      <td data-label={t("Status")}>
        <StatusCode status={request.status} />
      </td>
      <td data-label={t("Took")} className="right figure">
        {span(request.durationMs)}
      </td>
    </tr>
  );
}

function useMark() {
  const lanes = useObjects("lanes").objects;
  return (group: string, tag: string): number | null => (tag === "" ? null : (marks(lanes.filter((it) => it.spec.group === group)).get(tag) ?? 1));
}

function Hops({ of: { request } }: { of: Numbered }) {
  const mark = useMark();
  const groupOf = (lane: string) => lane.slice(0, lane.indexOf("/"));
  const first = request.lanes[0] ?? "";
  const number = first ? mark(groupOf(first), first.slice(first.indexOf("/") + 1)) : null;
  return (
    <>
      <header>
        <div className="column">
          <h2 className="break">{`${request.method} ${request.path}`}</h2>
          <p className="break">
            {request.host} · {request.lanes.join(", ") || t("base")} · <code>{request.id}</code>
          </p>
        </div>
      </header>
      <ol className={`stops ${laneClass(number)}`}>
        {request.hops.map((hop, at) => {
          const { text, look } = outcome(hop);
          const isAway = hop.outcome === "fallback" || (hop.outcome === "base" && number !== null);
          const by = hop.byGateway ? t("Gateway {x}", { x: hop.caller }) : hop.caller ? `${hop.caller} ${hop.callerTag || t("base")}` : t("nobody that tells");
          return (
            <li key={at} className={hop.outcome === "failed" || hop.outcome === "cut" ? "failed" : isAway ? "away" : ""}>
              <div className="rail">
                <i />
              </div>
              <div className="what">
                <div className="line">
                  <strong>{hop.application || t("nobody")}</strong>
                  <Badge tag={hop.tag || t("base")} number={mark(groupOf(hop.lanes[0] ?? first), hop.tag)} />
                  <span className={look}>{text}</span>
                  <StatusCode status={hop.status} />
                  <span className="push figure">{span(hop.durationMs)}</span>
                </div>
                <span className="second break">
                  {t("called by {x}", { x: by })} · {hop.method} {hop.path} · <code>{hop.instance || t("no instance")}</code>
                  {hop.servedMs != null && ` · ${t("served in {x}", { x: span(hop.servedMs) })}`}
                </span>
                {hop.reason && <span className="bad break">{hop.reason}</span>}
              </div>
            </li>
          );
        })}
      </ol>
    </>
  );
}
