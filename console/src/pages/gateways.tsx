// Gateways: where requests enter, whether each is served, and which routes it has, most specific match first as written.
import { getRouteApi, Link } from "@tanstack/react-router";
import type { Gateway, GrpcRoute, HttpRoute, StatusResponse } from "../api/client";
import { useObjects, useStatus } from "../live/hooks";
import { trouble } from "../logic/lanes";
import { yaml } from "../logic/write";
import { NotFound, usePlace } from "../parts/shell";
import { Banner, Bones, Code, Empty, Fact, Head, Panel, State, Table } from "../parts/ui";
import { counted, t } from "../words";

const gatewayRoute = getRouteApi("/gateways/$gateway");

type Listener = Extract<Gateway["spec"], { listeners: unknown }>["listeners"][number];

function listeners(gateway: Gateway | undefined): Listener[] {
  return gateway && "listeners" in gateway.spec ? gateway.spec.listeners : [];
}

/** Every gateway there is: by its object, or because a process serves it. */
function names(gateways: readonly Gateway[], status: StatusResponse | undefined): string[] {
  return [...new Set([...gateways.map((it) => it.metadata.name), ...(status?.gateways.map((it) => it.name) ?? [])])].sort();
}

type Route = HttpRoute | GrpcRoute;

/** Routes of both kinds, followed. */
function useRoutes(): { objects: Route[]; ready: boolean } {
  const [http, grpc] = [useObjects("httproutes"), useObjects("grpcroutes")];
  return { objects: [...http.objects, ...grpc.objects], ready: http.ready && grpc.ready };
}

function routesOf(routes: readonly Route[], gateway: string): Route[] {
  return routes.filter((it) => (it.spec.parentRefs ?? []).some((parent) => parent.name === gateway));
}

function groupsAt(groups: ReturnType<typeof useObjects<"lanegroups">>["objects"], gateway: string) {
  return groups.filter((it) => (it.spec.entrances ?? []).some((entrance) => entrance.gateway === gateway));
}

export function GatewaysPage() {
  usePlace({ text: t("Gateways") });
  const gateways = useObjects("gateways");
  const routes = useRoutes();
  const groups = useObjects("lanegroups");
  const status = useStatus();
  const all = names(gateways.objects, status.data);
  return (
    <div className="stackline">
      <Head title={t("Gateways")} lead={t("Where requests enter, and whether it is live.")} />
      {!gateways.ready || !routes.ready || !status.data ? (
        <Bones label={t("Loading gateways")} />
      ) : (
        <section className="panel" aria-label={t("Gateways")}>
          {all.length === 0 ? (
            <Empty title={t("No gateway yet")}>
              <p>{t("Start one with laneway gateway, or laneway serve.")}</p>
            </Empty>
          ) : (
            <Table columns={[t("Gateway"), t("Listeners"), { right: t("Routes") }, t("Lane groups"), t("Data planes")]} middle>
              {all.map((name) => {
                const gateway = gateways.objects.find((it) => it.metadata.name === name);
                const told = status.data.gateways.find((it) => it.name === name);
                const planes = status.data.dataPlanes.filter((it) => it.role === "gateway" && it.name === name);
                const connected = planes.filter((it) => it.connected).length;
                return (
                  <tr key={name}>
                    <th scope="row">
                      <Link className="rowlink" to="/gateways/$gateway" params={{ gateway: name }}>
                        {name}
                      </Link>
                    </th>
                    <td data-label={t("Listeners")}>{gateway ? listeners(gateway).map((it) => `${it.name} :${it.port}`).join(", ") : <span className="quiet">{t("as it was started")}</span>}</td>
                    <td data-label={t("Routes")} className="right figure">
                      {told?.routes ?? routesOf(routes.objects, name).length}
                    </td>
                    <td data-label={t("Lane groups")}>
                      {groupsAt(groups.objects, name)
                        .map((it) => it.metadata.name)
                        .join(", ") || <span className="quiet">{t("none")}</span>}
                    </td>
                    <td data-label={t("Data planes")}>
                      <State mood={connected > 0 ? "ok" : "warn"}>
                        <span className="figure">{t("{n} of {all} connected", { n: connected, all: planes.length })}</span>
                      </State>
                    </td>
                  </tr>
                );
              })}
            </Table>
          )}
        </section>
      )}
    </div>
  );
}

export function GatewayPage() {
  const { gateway: name } = gatewayRoute.useParams();
  usePlace({ text: t("Gateways"), to: "/gateways" }, { text: name });
  const gateways = useObjects("gateways");
  const routes = useRoutes();
  const groups = useObjects("lanegroups");
  const status = useStatus().data;
  if (!gateways.ready || !routes.ready || !status) return <Bones label={t("Loading gateways")} rows={6} />;
  const gateway = gateways.objects.find((it) => it.metadata.name === name);
  if (!names(gateways.objects, status).includes(name)) return <NotFound what={t("There is no gateway named {x}.", { x: name })} />;
  const planes = status.dataPlanes.filter((it) => it.role === "gateway" && it.name === name);
  const own = routesOf(routes.objects, name);
  const entered = groupsAt(groups.objects, name);
  const deaf = planes.flatMap((it) => it.notListening ?? []);
  return (
    <div className="stackline">
      <Head
        title={name}
        facts={
          <>
            <Fact icon="status">{t("{n} of {all} connected", { n: planes.filter((it) => it.connected).length, all: planes.length })}</Fact>
            <Fact icon="explain">{counted(own.length, "1 route", "{n} routes")}</Fact>
            <Fact icon="lanes">
              {entered.length === 0
                ? t("entrance of no lane group")
                : entered.map((it) => (
                    <Link key={it.metadata.name} className="text" to="/lanes/$group" params={{ group: it.metadata.name }}>
                      {it.metadata.name}
                    </Link>
                  ))}
            </Fact>
          </>
        }
      />
      {gateway &&
        trouble(gateway).map((it) => (
          <Banner key={it.type} mood="warn" title={it.type}>
            <p>{it.message}</p>
          </Banner>
        ))}
      {deaf.length > 0 && (
        <Banner mood="bad" title={t("Not every listener is served")}>
          {deaf.map((it) => (
            <p key={it}>{it}</p>
          ))}
        </Banner>
      )}
      <Listeners gateway={gateway} />
      <Routes routes={own} />
      {gateway && (
        <Panel title="YAML">
          <div className="body">
            <Code text={yaml([gateway])} label="YAML" />
          </div>
        </Panel>
      )}
    </div>
  );
}

function Listeners({ gateway }: { gateway: Gateway | undefined }) {
  if (!gateway) {
    return (
      <Panel title={t("Listeners")}>
        <Empty title={t("No Gateway object names them")}>
          <p>{t("The gateway serves the address it was started on. An object Gateway of its name would say host names and ports.")}</p>
        </Empty>
      </Panel>
    );
  }
  return (
    <Panel title={t("Listeners")}>
      <Table columns={[t("Name"), t("Port"), t("Protocol"), t("Host names"), t("Status")]}>
        {listeners(gateway).map((it) => {
          const told = gateway.status?.listeners?.find((other) => other.name === it.name);
          const bad = (told?.conditions ?? []).find((condition) => condition.status === "False");
          return (
            <tr key={it.name}>
              <th scope="row">{it.name}</th>
              <td data-label={t("Port")} className="figure">
                {it.port}
              </td>
              <td data-label={t("Protocol")}>{it.protocol}</td>
              <td data-label={t("Host names")}>{it.hostname ?? t("any")}</td>
              <td data-label={t("Status")}>
                <State mood={bad ? "bad" : "ok"}>{bad ? (bad.message ?? bad.reason) : t("served")}</State>
              </td>
            </tr>
          );
        })}
      </Table>
    </Panel>
  );
}

type GrpcMatch = NonNullable<NonNullable<GrpcRoute["spec"]["rules"]>[number]["matches"]>[number];

/** A match of gRPC in words: a service, a method, or both. */
function callText({ method, headers }: GrpcMatch): string {
  const called = method ? `${method.type === "RegularExpression" ? "~" : ""}${method.service ?? "*"}/${method.method ?? "*"}` : "*";
  return [called, ...(headers ?? []).map((it) => `${it.name}: ${it.value}`)].join(" ");
}

/** What a route matches, in words. */
function matchesOf(route: Route): string[] {
  if (route.kind === "GRPCRoute") return (route.spec.rules ?? []).flatMap((rule) => ((rule.matches ?? []).length > 0 ? (rule.matches ?? []).map(callText) : ["*"]));
  return (route.spec.rules ?? []).flatMap((rule) => ((rule.matches ?? []).length > 0 ? (rule.matches ?? []).map(matchText) : ["/"]));
}

/** A rule's matches in words. */
function matchText(match: NonNullable<NonNullable<HttpRoute["spec"]["rules"]>[number]["matches"]>[number]): string {
  const path = match.path ? `${match.path.type === "Exact" ? "=" : match.path.type === "RegularExpression" ? "~" : ""}${match.path.value ?? "/"}` : "/";
  const named = [...(match.headers ?? []).map((it) => `${it.name}: ${it.value}`), ...(match.queryParams ?? []).map((it) => `?${it.name}=${it.value}`)];
  return [match.method ?? "", path, ...named].filter(Boolean).join(" ");
}

function Routes({ routes }: { routes: Route[] }) {
  return (
    <Panel title={t("Routes")} lead={t("Each with what it matches and who serves it.")}>
      {routes.length === 0 ? (
        <Empty title={t("No route attaches to this gateway")} />
      ) : (
        <Table columns={[t("Route"), t("Host names"), t("Matches"), t("Served by"), t("Live on")]}>
          {routes.map((route) => {
            const bad = trouble(route);
            const backends = (route.spec.rules ?? []).flatMap((rule: { backendRefs?: { name: string }[] }) => rule.backendRefs ?? []);
            const live = route.status?.live;
            return (
              <tr key={`${route.kind}/${route.metadata.namespace}/${route.metadata.name}`}>
                <th scope="row">
                  {route.metadata.name} {route.kind === "GRPCRoute" && <span className="chip plain">gRPC</span>}
                </th>
                <td data-label={t("Host names")}>{(route.spec.hostnames ?? []).join(", ") || t("any")}</td>
                <td data-label={t("Matches")}>
                  <code className="break">{matchesOf(route).join(", ")}</code>
                </td>
                <td data-label={t("Served by")}>
                  {backends.map((it) => it.name).join(", ") || "–"}
                </td>
                <td data-label={t("Live on")}>{bad[0] ? <State mood="warn">{bad[0].message}</State> : live ? <State mood="ok">{t("{n} of {all}", { n: live.acknowledged, all: live.dataPlanes })}</State> : "–"}</td>
              </tr>
            );
          })}
        </Table>
      )}
    </Panel>
  );
}

