// Applications: what each serves now, and how that was lately ("QPS data").
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import type { TopRow } from "../api/client";
import { useInstances, useSeries, useTop } from "../live/hooks";
import { rate, span, sums } from "../logic/figures";
import { BasisNote, Errors } from "../parts/basis";
import { Chart } from "../parts/chart";
import { InstanceTable } from "../parts/instances";
import { NotFound, usePlace } from "../parts/shell";
import { Bones, Empty, Head, Panel, Segments, Table } from "../parts/ui";
import { counted, t } from "../words";

const applicationRoute = getRouteApi("/applications/$application");

export function ApplicationsPage() {
  usePlace({ text: t("Applications") });
  const top = useTop(undefined, "1m");
  const instances = useInstances();
  const rows = top.data?.rows ?? [];
  const names = [...new Set([...(instances.data ?? []).map((it) => it.application), ...rows.map((it) => it.application)])].filter(Boolean).sort();
  return (
    <div className="stackline">
      <Head title={t("Applications")} lead={t("What each serves, in all lanes together, over the last minute.")} />
      {!top.data || !instances.data ? (
        <Bones label={t("Loading figures")} />
      ) : (
        <section className="panel" aria-label={t("Applications")}>
          {names.length === 0 ? (
            <Empty title={t("No application yet")} />
          ) : (
            <Table columns={[t("Application"), { right: t("Instances") }, { right: t("Requests a second") }, { right: t("Of these gray") }, { right: t("Errors") }]} middle>
              {names.map((name) => {
                const own = rows.filter((it) => it.application === name);
                const sum = (of: (row: TopRow) => number) => own.reduce((all, row) => all + of(row), 0);
                const requests = sum((it) => it.figures.requests);
                return (
                  <tr key={name}>
                    <th scope="row">
                      <Link className="rowlink" to="/applications/$application" params={{ application: name }}>
                        {name}
                      </Link>
                    </th>
                    <td data-label={t("Instances")} className="right figure">
                      {instances.data.filter((it) => it.application === name).length}
                    </td>
                    <td data-label={t("Requests a second")} className="right figure">
                      {rate(sum((it) => it.figures.requestsPerSecond))}
                    </td>
                    <td data-label={t("Of these gray")} className="right figure">
                      {rate(sum((it) => (it.lane === "" ? 0 : it.figures.requestsPerSecond)))}
                    </td>
                    <td data-label={t("Errors")} className="right figure">
                      <Errors ratio={requests > 0 ? sum((it) => it.figures.errors) / requests : null} />
                    </td>
                  </tr>
                );
              })}
            </Table>
          )}
        </section>
      )}
      {top.data && <BasisNote basis={top.data.basis} />}
    </div>
  );
}

const WINDOWS = ["15m", "3h", "24h", "7d"] as const;

export function ApplicationPage() {
  const { application } = applicationRoute.useParams();
  const { window: written } = applicationRoute.useSearch();
  const navigate = useNavigate();
  usePlace({ text: t("Applications"), to: "/applications" }, { text: application });
  const chosen = WINDOWS.find((it) => it === written) ?? "15m";
  const instances = useInstances().data;
  const series = useSeries(`application=${encodeURIComponent(application)}&by=lane&window=${chosen}${chosen === "15m" ? "&step=5s" : ""}`, chosen === "15m" ? 1000 : 10_000).data;
  const top = useTop(undefined, "1m", application).data;
  if (!instances || !top) return <Bones label={t("Loading figures")} rows={6} />;
  const own = instances.filter((it) => it.application === application);
  if (own.length === 0 && top.rows.length === 0 && series?.lines.length === 0) return <NotFound what={t("Nothing is known of an application named {x}.", { x: application })} />;
  const names: Record<(typeof WINDOWS)[number], string> = { "15m": t("15 minutes"), "3h": t("3 hours"), "24h": t("24 hours"), "7d": t("7 days") };
  return (
    <div className="stackline">
      <Head title={application} lead={counted(own.length, "1 instance", "{n} instances")} />
      <Panel
        title={t("QPS data")}
        lead={t("Requests a second: all, those that failed (5xx, no answer or a broken one), and those of lanes.")}
        actions={
          <Segments
            label={t("Window")}
            value={chosen}
            options={WINDOWS.map((it) => ({ value: it, text: names[it] }))}
            onChange={(it) => void navigate({ to: "/applications/$application", params: { application }, search: it === "15m" ? {} : { window: it }, replace: true })}
          />
        }
      >
        <div className="body column wide">{series ? <QpsData series={series} /> : <Bones label={t("Loading figures")} />}</div>
      </Panel>
      <Panel title={t("By lane, over the last minute")}>
        {top.rows.length === 0 ? (
          <Empty title={t("No request in this window")} />
        ) : (
          <Table columns={[t("Lane"), { right: t("Requests a second") }, { right: t("Errors") }, { right: "p50" }, { right: "p95" }, { right: "p99" }, { right: t("Fallback") }, t("Counted by")]}>
            {top.rows.map((row) => (
              <tr key={`${row.group}/${row.lane}`}>
                <th scope="row">{row.lane === "" ? t("base") : `${row.group}/${row.lane}`}</th>
                <td data-label={t("Requests a second")} className="right figure">
                  {rate(row.figures.requestsPerSecond)}
                </td>
                <td data-label={t("Errors")} className="right figure">
                  <Errors ratio={row.figures.errorRatio} />
                </td>
                <td data-label="p50" className="right figure">
                  {span(row.figures.p50Ms)}
                </td>
                <td data-label="p95" className="right figure">
                  {span(row.figures.p95Ms)}
                </td>
                <td data-label="p99" className="right figure">
                  {span(row.figures.p99Ms)}
                </td>
                <td data-label={t("Fallback")} className="right figure">
                  {row.fallback}
                </td>
                <td data-label={t("Counted by")}>{row.countedBy === "application" ? t("its sidecars") : t("its callers")}</td>
              </tr>
            ))}
          </Table>
        )}
      </Panel>
      <BasisNote basis={top.basis} />
      <Panel title={t("Instances")}>
        <InstanceTable instances={own} />
      </Panel>
    </div>
  );
}

function QpsData({ series }: { series: NonNullable<ReturnType<typeof useSeries>["data"]> }) {
  const { from, until, stepSeconds } = series.basis;
  const { total, exception, gray } = sums(series.lines, (until - from) / stepSeconds, stepSeconds);
  const lines = [
    { name: t("Total QPS"), colour: "--ink", values: total },
    { name: t("Gray QPS"), colour: "--lane-1", dash: [6, 3], values: gray },
    { name: t("Exception QPS"), colour: "--bad", dash: [2, 2], values: exception },
  ];
  return (
    <>
      {series.basis.requests === 0 && <p className="second">{t("No request in this window")}</p>}
      <Chart label={t("Requests a second over time")} from={from} step={stepSeconds} lines={lines} show={rate} />
      <BasisNote basis={series.basis} />
    </>
  );
}
