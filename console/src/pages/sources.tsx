// Sources: where instances come from, whether the picture is fresh, and what each tells.
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { useServices, useStatus } from "../live/hooks";
import { usePlace } from "../parts/shell";
import { Bones, Empty, Head, type Mood, Panel, State, Table } from "../parts/ui";
import { duration, t } from "../words";

const sourcesRoute = getRouteApi("/sources");

export function SourcesPage() {
  usePlace({ text: t("Sources") });
  const status = useStatus(2000).data;
  return (
    <div className="stackline">
      <Head title={t("Sources")} lead={t("Where instances come from, and how fresh that is. What a source told last stays in use while it is away.")} />
      {!status ? <Bones label={t("Loading sources")} /> : <Sources sources={status.sources} />}
      <Services />
    </div>
  );
}

function Sources({ sources }: { sources: NonNullable<ReturnType<typeof useStatus>["data"]>["sources"] }) {
  return (
    <Panel title={t("Sources")}>
      <Table columns={[t("Source"), t("Kind"), t("Status"), { right: t("Services") }, { right: t("Instances") }]} middle>
        {sources.map((it) => {
          const mood: Mood = it.state === "synced" ? "ok" : it.state === "stale" ? "warn" : "wait";
          const text = it.state === "synced" ? t("fresh") : it.state === "stale" ? t("stale for {d}; what it told last stays in use", { d: duration(it.staleSeconds ?? 0) }) : t("not everything told yet");
          return (
            <tr key={it.name}>
              <th scope="row">{it.name}</th>
              <td data-label={t("Kind")}>{it.kind}</td>
              <td data-label={t("Status")}>
                <div className="column">
                  <State mood={mood}>{text}</State>
                  {it.problem && <span className="small second">{it.problem}</span>}
                </div>
              </td>
              <td data-label={t("Services")} className="right figure">
                {it.services}
              </td>
              <td data-label={t("Instances")} className="right figure">
                {it.instances}
              </td>
            </tr>
          );
        })}
      </Table>
    </Panel>
  );
}

function Services() {
  const { filter = "" } = sourcesRoute.useSearch();
  const navigate = useNavigate();
  const services = useServices(2000).data;
  if (!services) return <Bones label={t("Loading services")} />;
  const words = filter.toLowerCase();
  const shown = services.filter((it) => [it.name, it.application, it.source].some((text) => text.toLowerCase().includes(words)));
  return (
    <Panel
      title={t("Services")}
      lead={t("What callers name, and the application behind it.")}
      actions={<input className="input filter" type="search" value={filter} placeholder={t("Filter services")} aria-label={t("Filter services")} onChange={(event) => void navigate({ to: "/sources", search: event.target.value ? { filter: event.target.value } : {}, replace: true })} />}
    >
      {shown.length === 0 ? (
        <Empty title={t("No service")} />
      ) : (
        <Table columns={[t("Service"), t("Application"), t("Source"), { right: t("Usable") }, t("Tags")]} middle>
          {shown.map((it) => (
            <tr key={`${it.source} ${it.namespace} ${it.group} ${it.name}`}>
              <th scope="row">{it.name}</th>
              <td data-label={t("Application")}>{it.application}</td>
              <td data-label={t("Source")}>{it.source}</td>
              <td data-label={t("Usable")} className="right figure">
                {t("{n} of {all}", { n: it.usable, all: it.instances })}
              </td>
              <td data-label={t("Tags")}>{(it.tags ?? []).join(", ") || <span className="quiet">{t("none")}</span>}</td>
            </tr>
          ))}
        </Table>
      )}
    </Panel>
  );
}
