// Explain: which lane a request enters and what serves each hop, decided by the code that routes it. Nothing is sent on.
import { useQuery } from "@tanstack/react-query";
import { getRouteApi, useNavigate } from "@tanstack/react-router";
import { type FormEvent, type ReactNode, useState } from "react";
import { Away, type ExplainRequest, type ExplainResponse, type ExplainStep, send } from "../api/client";
import { words } from "../live/changes";
import { useObjects, useServices, useStatus } from "../live/hooks";
import { readCurl, readHeaders } from "../logic/curl";
import { marks } from "../logic/lanes";
import { word } from "../logic/write";
import { Choose, Field } from "../parts/fields";
import { Icon, type IconName, laneClass } from "../parts/icons";
import { usePlace } from "../parts/shell";
import { Badge, Banner, Bones, Button, Code, Empty, Head, Panel } from "../parts/ui";
import { t } from "../words";

const explainRoute = getRouteApi("/explain");

const METHODS = ["GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"];

type Search = Partial<Record<"method" | "url" | "headers" | "gateway" | "clientIp" | "path", string>>;

function requestOf(search: Search): ExplainRequest | undefined {
  if (!search.url) return undefined;
  const path = (search.path ?? "").split(",").map((it) => it.trim()).filter(Boolean);
  return {
    url: search.url,
    method: search.method ?? "GET",
    gateway: search.gateway ?? "edge",
    headers: readHeaders(search.headers ?? ""),
    ...(search.clientIp ? { clientIp: search.clientIp } : {}),
    ...(path.length > 0 ? { path } : {}),
  };
}

function command(request: ExplainRequest): string {
  return [
    "laneway explain",
    ...(request.method && request.method !== "GET" ? [`-X ${word(request.method)}`] : []),
    ...(request.gateway && request.gateway !== "edge" ? [`--gateway ${word(request.gateway)}`] : []),
    ...(request.headers ?? []).map((it) => `-H ${word(`${it.name}: ${it.value}`)}`),
    ...(request.clientIp ? [`--client-ip ${word(request.clientIp)}`] : []),
    word(request.url),
    ...(request.path ? [`--path ${word(request.path.join(","))}`] : []),
  ].join(" ");
}

export function ExplainPage() {
  usePlace({ text: t("Explain") });
  const search = explainRoute.useSearch();
  const request = requestOf(search);
  return (
    <div className="stackline">
      <Head title={t("Explain")} lead={t("Which lane a request enters, and what serves every hop, decided by the very code that routes it. Nothing is sent.")} />
      <div className="pair form">
        <Form key={JSON.stringify(search)} search={search} />
        {request ? (
          <Answer request={request} />
        ) : (
          <section className="panel">
            <Empty title={t("Which request?")}>
              <p>{t("Paste a curl command, or write method, URL and headers.")}</p>
            </Empty>
          </section>
        )}
      </div>
    </div>
  );
}

function Form({ search }: { search: Search }) {
  const navigate = useNavigate();
  const status = useStatus().data;
  const services = useServices().data ?? [];
  const [curl, setCurl] = useState("");
  const [it, setIt] = useState({ method: "GET", url: "", headers: "", gateway: "edge", clientIp: "", path: "", ...search });
  const gateways = [...new Set([it.gateway, "edge", ...(status?.gateways.map((gateway) => gateway.name) ?? [])])];
  const read = (text: string) => {
    setCurl(text);
    const pasted = readCurl(text);
    if (pasted) setIt({ ...it, method: pasted.method, url: pasted.url, headers: pasted.headers.map((header) => `${header.name}: ${header.value}`).join("\n") });
  };
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const written = Object.entries(it).filter(([, value]) => value !== "");
    void navigate({ to: "/explain", search: Object.fromEntries(written) });
  };
  const names = services.map((service) => service.name);
  return (
    <form onSubmit={submit}>
      <Panel title={t("Request")} foot={<button className="btn primary" type="submit">{t("Explain")}</button>}>
        <div className="body column wide">
          <Field label={t("Paste a curl command")} mono lines={3} value={curl} onChange={read} placeholder="curl -H 'canary: gray' http://127.0.0.1:8000/a" />
          <Choose label={t("Method")} value={it.method} options={[...new Set([it.method, ...METHODS])].map((value) => ({ value, text: value }))} onChange={(method) => setIt({ ...it, method })} />
          <Field label="URL" mono value={it.url} onChange={(url) => setIt({ ...it, url })} hint={t("http://host:port/path, or /path alone")} />
          <Field label={t("Headers, one a line")} mono lines={3} value={it.headers} onChange={(headers) => setIt({ ...it, headers })} />
          <Choose label={t("Entrance gateway")} value={it.gateway} options={gateways.map((value) => ({ value, text: value }))} onChange={(gateway) => setIt({ ...it, gateway })} />
          <Field label={t("Client IP")} mono value={it.clientIp} onChange={(clientIp) => setIt({ ...it, clientIp })} placeholder="10.20.4.17" />
          <Field label={t("Call path")} mono value={it.path} onChange={(path) => setIt({ ...it, path })} hint={names.length > 0 ? t("Services called one after the other, with commas. Known: {x}.", { x: names.slice(0, 8).join(", ") }) : t("Services called one after the other, with commas.")} />
          {names.length > 1 && it.path === "" && (
            <div className="line">
              <Button small onPress={() => setIt({ ...it, path: names.slice(0, 8).join(",") })}>
                {t("Use {x}", { x: names.slice(0, 8).join(",") })}
              </Button>
            </div>
          )}
        </div>
      </Panel>
    </form>
  );
}

function Answer({ request }: { request: ExplainRequest }) {
  const text = JSON.stringify(request);
  const answer = useQuery({
    queryKey: ["/explain", text],
    queryFn: () => send<ExplainResponse>("POST", "/explain", JSON.parse(text)),
    retry: (failures, error) => error instanceof Away && failures < 2,
    refetchInterval: 5000,
  });
  if (answer.data) return <Way answer={answer.data} request={request} />;
  if (answer.error) {
    return (
      <div role="alert">
        <Banner mood="bad" title={t("This request cannot be explained")}>
          <p className="break">{words(answer.error)}</p>
        </Banner>
      </div>
    );
  }
  return <Bones label={t("Explaining")} />;
}

function useMarks() {
  const lanes = useObjects("lanes").objects;
  return (group: string, tag: string | null | undefined): number | null => {
    if (tag == null || tag === "") return null;
    return marks(lanes.filter((it) => it.spec.group === group)).get(tag) ?? 1;
  };
}

function Way({ answer, request }: { answer: ExplainResponse; request: ExplainRequest }) {
  const mark = useMarks();
  const members = answer.entrance.flatMap((it) => (it.step === "member" ? [it] : []));
  const inLanes = members.filter((it) => it.tag);
  const away = answer.hops.filter((it) => it.outcome === "fallback");
  const failed = answer.hops.filter((it) => it.outcome === "failed");
  const first = inLanes[0];
  const number = first ? mark(first.group, first.tag) : null;
  return (
    <section className="panel" aria-label={t("Answer")}>
      <header>
        <div className="column">
          <div className="line">
            <h2>{inLanes.length > 0 ? t("The request is in") : t("The request is in no lane: base serves it")}</h2>
            {inLanes.map((it) => (
              <span className="line" key={it.group}>
                <Badge tag={it.tag ?? ""} number={mark(it.group, it.tag)} /> <span className="second">{t("of {g}", { g: it.group })}</span>
              </span>
            ))}
          </div>
          <p>
            {failed.length > 0
              ? t("{n} of {all} hops fail: {x}.", { n: failed.length, all: answer.hops.length, x: failed.map((it) => it.service).join(", ") })
              : away.length > 0
                ? t("{n} of {all} hops fall back: {x}.", { n: away.length, all: answer.hops.length, x: away.map((it) => it.application).join(", ") })
                : t("No hop falls back.")}
          </p>
        </div>
      </header>
      <ol className={`stops ${laneClass(number)}`}>
        <li className="start">
          <div className="rail">
            <i />
          </div>
          <div className="what">
            <strong>{t("Gateway {x}", { x: request.gateway ?? "edge" })}</strong>
            <span className="second">
              {answer.listener ? t("Listener {l}, route {r}", { l: answer.listener, r: answer.route || "–" }) : t("No listener takes it.")}
            </span>
            <ul className="reasons">
              {answer.routing.map((it) => (
                <Reason key={it} icon="explain">
                  {it}
                </Reason>
              ))}
              {answer.entrance.map((it, index) => (
                <Step key={index} step={it} mark={mark} />
              ))}
              {answer.baggage && (
                <Reason icon="explain">
                  {t("Carried on as")} <code>baggage: {answer.baggage}</code>
                </Reason>
              )}
            </ul>
          </div>
        </li>
        {answer.hops.map((hop, index) => {
          const group = hop.steps.flatMap((it) => (it.step === "subset" && it.group ? [it.group] : []))[0] ?? first?.group ?? "";
          const isAway = hop.outcome === "fallback" || (hop.outcome === "base" && number !== null);
          return (
            <li key={`${index} ${hop.service}`} className={hop.outcome === "failed" ? "failed" : isAway ? "away" : ""}>
              <div className="rail">
                <i />
              </div>
              <div className="what">
                <div className="line">
                  <strong>{hop.application || hop.service}</strong>
                  <span className="quiet">{hop.service}</span>
                  {hop.outcome !== "failed" && <Badge tag={hop.tag || t("base")} number={mark(group, hop.tag)} />}
                  <code className="push">{hop.endpoint}</code>
                  {hop.port && <code className="quiet">{`${hop.port.protocol} ${hop.port.addresses.join(", ")}`}</code>}
                </div>
                {hop.problem && <span className="bad">{hop.problem}</span>}
                {hop.unknown && <span className="warn">{hop.unknown}</span>}
                <details open={hop.outcome === "failed"}>
                  <summary>{t("Why")}</summary>
                  <ul className="reasons">
                    {hop.steps.map((it, step) => (
                      <Step key={step} step={it} mark={mark} />
                    ))}
                  </ul>
                </details>
              </div>
            </li>
          );
        })}
      </ol>
      <div className="body">
        <Code text={command(request)} label={t("Command")} />
      </div>
    </section>
  );
}

function Reason({ icon, kind, children }: { icon: IconName; kind?: string; children: ReactNode }) {
  return (
    <li>
      <Icon name={icon} kind={kind ?? ""} />
      <span>{children}</span>
    </li>
  );
}

function Step({ step, mark }: { step: ExplainStep; mark: (group: string, tag: string | null | undefined) => number | null }) {
  switch (step.step) {
    case "lane":
      return (
        <Reason icon={step.matched ? "check" : "cross"} kind={step.matched ? "ok" : ""}>
          <Badge tag={step.tag} number={mark(step.group, step.tag)} /> {step.because}
        </Reason>
      );
    case "member":
      return (
        <Reason icon="lanes">
          {step.group}: <Badge tag={step.tag ?? t("base")} number={mark(step.group, step.tag)} /> {step.because}
        </Reason>
      );
    case "subset":
      return (
        <Reason icon={step.chosen ? "check" : "cross"} kind={step.chosen ? "ok" : ""}>
          <Badge tag={step.tag ?? t("base")} number={mark(step.group ?? "", step.tag)} /> {step.because}
        </Reason>
      );
    case "instance":
      return (
        <Reason icon={step.candidate ? "check" : "cross"} kind={step.candidate ? "ok" : ""}>
          <code>{step.address}</code> {step.because}
        </Reason>
      );
  }
}

