// Status: what is live, what is behind, what is in conflict, and what happened lately.
import { useQuery } from "@tanstack/react-query";
import { Fragment } from "react";
import { type DataPlane, type StatusResponse, get } from "../api/client";
import type { components } from "../api/schema";
import { useStatus } from "../live/hooks";
import { remarks } from "../logic/planes";
import { Icon } from "../parts/icons";
import { usePlace } from "../parts/shell";
import { Banner, Bones, Empty, Head, type Mood, Panel, State, Table } from "../parts/ui";
import { duration, t } from "../words";

type Event = components["schemas"]["Event"];

/** A data plane that has not acknowledged for this long is behind; before, it is on its way. */
const BEHIND_MS = 2000;
const EVENTS_SHOWN = 30;

function standing(it: DataPlane): { mood: Mood; text: string } {
  if (!it.connected) return { mood: "warn", text: t("away for {d}, goes on with generation {n}", { d: duration(it.sinceSeconds), n: it.acknowledged }) };
  if ((it.refused ?? []).length > 0) return { mood: "bad", text: t("refuses what it was told") };
  if (it.behindMs > BEHIND_MS) return { mood: "warn", text: t("{n} generations behind for {d}", { n: it.sent - it.acknowledged, d: duration(Math.round(it.behindMs / 1000)) }) };
  return { mood: "ok", text: t("live") };
}

export function StatusPage() {
  usePlace({ text: t("Status") });
  const status = useStatus(2000).data;
  return (
    <div className="stackline">
      <Head title={t("Status")} lead={t("What is live, what is behind, what is in conflict.")} />
      {status ? <Whole status={status} /> : <Bones label={t("Loading status")} rows={8} />}
      <Events />
    </div>
  );
}

function Whole({ status }: { status: StatusResponse }) {
  const planes = status.dataPlanes;
  const good = planes.filter((it) => standing(it).mood === "ok");
  return (
    <>
      <dl className="figures">
        <div>
          <dt>{t("Live generation")}</dt>
          <dd>{status.generation.number}</dd>
        </div>
        <div>
          <dt>{t("Data planes")}</dt>
          <dd>
            {planes.length}
            <small>{t("{n} live", { n: good.length })}</small>
          </dd>
        </div>
        <div>
          <dt>{t("Findings")}</dt>
          <dd>{status.findings.length}</dd>
        </div>
        <div>
          <dt>{t("Version")}</dt>
          <dd>{status.version}</dd>
        </div>
      </dl>
      {planes.length > 0 && good.length === planes.length && status.findings.length === 0 && (
        <p>
          <State mood="ok">{t("All {n} data planes are at their latest generation.", { n: planes.length })}</State>
        </p>
      )}
      {(status.doubtedBy ?? 0) > 0 && (
        <Banner mood="warn" title={t("{n} data planes hold the configuration of another control plane", { n: status.doubtedBy ?? 0 })}>
          <p>{t("They keep it until something is applied here.")}</p>
        </Banner>
      )}
      {status.findings.length > 0 && (
        <section className="panel attention">
          <h2>{t("Findings")}</h2>
          <ul>
            {status.findings.map((it, index) => (
              <li key={index}>
                <Icon name={it.severity === "error" ? "bad" : "warn"} kind={it.severity === "error" ? "bad" : "warn"} />
                <div className="break">
                  <span className="strong">{it.object ? `${it.object.kind} ${it.object.namespace}/${it.object.name}: ` : ""}{it.field}</span>
                  <p className="second">
                    {it.value && <code>{it.value}</code>} {it.remedy}
                  </p>
                </div>
              </li>
            ))}
          </ul>
        </section>
      )}
      {(status.refusedRegistrations ?? []).map((it) => (
        <Banner key={`${it.node} ${it.address}`} mood="bad" title={t("{x} may not register", { x: `${it.application} ${it.tag}`.trim() })}>
          <p className="break">
            <code>{it.address}</code> {it.reason}
          </p>
        </Banner>
      ))}
      <Planes planes={planes} />
    </>
  );
}

function Planes({ planes }: { planes: DataPlane[] }) {
  const sorted = [...planes].sort((a, b) => a.role.localeCompare(b.role) || a.name.localeCompare(b.name) || (a.tag ?? "").localeCompare(b.tag ?? ""));
  return (
    <Panel title={t("Data planes")} lead={t("Everything that requests pass through, and how far it is.")}>
      {planes.length === 0 ? (
        <Empty title={t("No data plane has connected yet")} />
      ) : (
        <Table columns={[t("Name"), t("Role"), t("Tag"), t("Admin address"), t("Status"), { right: t("Generation") }, { right: t("Since") }]}>
          {sorted.map((it) => {
            const { mood, text } = standing(it);
            return (
              <tr key={it.node}>
                <th scope="row">{it.name}</th>
                <td data-label={t("Role")}>{it.role}</td>
                <td data-label={t("Tag")}>{it.tag || <span className="quiet">{t("base")}</span>}</td>
                <td data-label={t("Admin address")}>
                  <code>{it.address ?? "–"}</code>
                </td>
                <td data-label={t("Status")}>
                  <div className="column">
                    <State mood={mood}>{text}</State>
                    {remarks(it).map((line) => (
                      <span key={line} className="small second break">
                        {line}
                      </span>
                    ))}
                  </div>
                </td>
                <td data-label={t("Generation")} className="right figure">
                  {it.acknowledged}
                  {it.sent !== it.acknowledged && ` / ${it.sent}`}
                </td>
                <td data-label={t("Since")} className="right figure">
                  {duration(it.sinceSeconds)}
                </td>
              </tr>
            );
          })}
        </Table>
      )}
    </Panel>
  );
}

function Events() {
  const events = useQuery({ queryKey: ["/events"], queryFn: ({ signal }) => get<Event[]>("/events", signal), refetchInterval: 5000 }).data;
  if (!events) return null;
  const latest = events.slice(-EVENTS_SHOWN).reverse();
  return (
    <Panel title={t("What happened lately")} lead={t("The control plane's own memory of events, newest first.")}>
      {latest.length === 0 ? (
        <Empty title={t("Nothing happened yet")} />
      ) : (
        <dl className="facts-list body">
          {latest.map((it) => (
            <Fragment key={it.number}>
              <dt className="figure">{new Date(it.time).toLocaleTimeString("en-GB")}</dt>
              <dd>
                {it.warning && <Icon name="warn" kind="warn" />}
                <span className="strong">{it.reason}</span> {it.about}
                {it.message && <span className="second">: {it.message}</span>}
              </dd>
            </Fragment>
          ))}
        </dl>
      )}
    </Panel>
  );
}
