// Full-link canary: which groups there are, how their lanes stand, what needs attention.
import { getRouteApi, Link, useNavigate } from "@tanstack/react-router";
import { useInstances, useObjects, useServices, useStatus, useTop } from "../live/hooks";
import { entranceText, inOrder, isEnabled, isWorse, marks, matchedOf, modeOf, tagOf, trouble } from "../logic/lanes";
import { Choose } from "../parts/fields";
import { Icon } from "../parts/icons";
import { usePlace } from "../parts/shell";
import { Badge, Bones, Empty, Fact, Head, LinkButton, State } from "../parts/ui";
import { worseText } from "../parts/verdict";
import { Dots } from "../swim/mini";
import { swim } from "../swim/model";
import { counted, t } from "../words";
import type { Lane, LaneGroup, Top } from "../api/client";
import { rate, rowRate } from "../logic/figures";

const homeRoute = getRouteApi("/lanes");

const BADGES_MAX = 6;

export function HomePage() {
  usePlace({ text: t("Full-link canary") });
  const groups = useObjects("lanegroups");
  const lanes = useObjects("lanes");
  const isReady = groups.ready && lanes.ready;
  return (
    <div className="stackline">
      <Head
        title={t("Full-link canary")}
        lead={t("Lane groups of this control plane: which requests enter which lane, and what serves them there.")}
        actions={
          groups.objects.length > 0 && (
            <>
              <LinkButton to="/new/lane-group">{t("Create lane group")}</LinkButton>
              <LinkButton to="/new/lane" look="primary" icon="plus">
                {t("Create lane")}
              </LinkButton>
            </>
          )
        }
      />
      {!isReady ? <Bones label={t("Loading lane groups")} /> : groups.objects.length === 0 ? <NoGroup /> : <Groups groups={groups.objects} lanes={lanes.objects} />}
    </div>
  );
}

function NoGroup() {
  const services = useServices().data ?? [];
  const instances = useInstances().data ?? [];
  const tagged = new Map<string, Set<string>>();
  for (const it of instances) if (it.tag) tagged.set(it.tag, (tagged.get(it.tag) ?? new Set()).add(it.application));
  return (
    <>
      <section className="panel">
        <Empty
          title={t("No lane group yet")}
          actions={
            <LinkButton to="/new/lane-group" look="primary" icon="plus">
              {t("Create lane group and lane")}
            </LinkButton>
          }
        >
          <p>{t("A lane group holds the applications that belong together and the entrance where requests arrive. Its lanes send the requests you choose to the tagged versions, along the whole call chain; where a lane has no version of an application, base serves.")}</p>
        </Empty>
      </section>
      <dl className="figures">
        <div>
          <dt>{t("Services known")}</dt>
          <dd>{services.length}</dd>
        </div>
        <div>
          <dt>{t("Instances")}</dt>
          <dd>{instances.length}</dd>
        </div>
        <div>
          <dt>{t("Tags in no lane yet")}</dt>
          <dd>
            {tagged.size}
            <small>{[...tagged].map(([tag, of]) => `${tag}: ${[...of].join(", ")}`).join("; ")}</small>
          </dd>
        </div>
      </dl>
    </>
  );
}

interface Attention {
  key: string;
  mood: "warn" | "bad";
  title: string;
  text: string;
  group: string;
  tag?: string;
}

function attention(groups: readonly LaneGroup[], lanes: readonly Lane[]): Attention[] {
  const found: Attention[] = [];
  for (const group of groups) {
    const name = group.metadata.name;
    for (const it of trouble(group)) found.push({ key: `${name} ${it.type}`, mood: it.type === "Conflicted" ? "warn" : "bad", title: `${name}: ${it.type}`, text: it.message, group: name });
    for (const lane of inOrder(lanes, group)) {
      const tag = tagOf(lane);
      if (isWorse(lane)) {
        const { text } = worseText(lane);
        // What harms requests now stands before what may.
        found.unshift({ key: `${name}/${tag} worse`, mood: "bad", title: t("{l} is worse than base", { l: `${name}/${tag}` }), text, group: name, tag });
      }
      for (const it of trouble(lane)) found.push({ key: `${name}/${tag} ${it.type}`, mood: "warn", title: `${name}/${tag}: ${it.type}`, text: it.message, group: name, tag });
      const matched = lane.status?.matched ?? [];
      const isEmpty = matched.length > 0 && matched.every((it) => it.tagged === 0);
      if (isEnabled(lane) && isEmpty && trouble(lane).length === 0) {
        found.push({ key: `${name}/${tag} empty`, mood: "warn", title: t("{x} matches no instance", { x: `${name}/${tag}` }), text: t("Its requests are served by the fallback at every hop."), group: name, tag });
      }
    }
  }
  return found;
}

function Groups({ groups, lanes }: { groups: readonly LaneGroup[]; lanes: readonly Lane[] }) {
  const { filter = "", namespace = "" } = homeRoute.useSearch();
  const navigate = useNavigate();
  const status = useStatus().data;
  const namespaces = [...new Set(groups.map((it) => it.metadata.namespace ?? "default"))].sort();
  const search = (next: { filter?: string; namespace?: string }) => {
    const all = { filter, namespace, ...next };
    void navigate({ to: "/lanes", search: { ...(all.filter ? { filter: all.filter } : {}), ...(all.namespace ? { namespace: all.namespace } : {}) }, replace: true });
  };
  const words = filter.toLowerCase();
  const shown = groups.filter((group) => {
    if (namespace && (group.metadata.namespace ?? "default") !== namespace) return false;
    const names = [group.metadata.name, ...(group.spec.applications ?? []), ...inOrder(lanes, group).map(tagOf)];
    return names.some((it) => it.toLowerCase().includes(words));
  });
  const needs = attention(groups, lanes);
  const top = useTop(undefined, "10s").data;
  const behind = status?.dataPlanes.filter((it) => it.connected && it.acknowledged >= it.sent).length;
  return (
    <>
      <dl className="figures">
        <div>
          <dt>{t("Lane groups")}</dt>
          <dd>{groups.length}</dd>
        </div>
        <div>
          <dt>{t("Lanes")}</dt>
          <dd>
            {lanes.length}
            <small>{t("{n} enabled", { n: lanes.filter(isEnabled).length })}</small>
          </dd>
        </div>
        <div>
          <dt>{t("Live generation")}</dt>
          <dd>
            {status?.generation.number ?? "–"}
            {status && <small>{t("on {n} of {all}", { n: behind ?? 0, all: status.dataPlanes.length })}</small>}
          </dd>
        </div>
      </dl>
      {needs.length > 0 && (
        <section className="panel attention">
          <h2>{t("Needs attention")}</h2>
          <ul>
            {needs.map((it) => (
              <li key={it.key}>
                <Icon name={it.mood} kind={it.mood} />
                <div>
                  <span className="strong">{it.title}</span>
                  <p className="second">{it.text}</p>
                </div>
                {it.tag ? (
                  <LinkButton small to="/lanes/$group/$tag" params={{ group: it.group, tag: it.tag }} aria-label={t("Show {x}", { x: `${it.group}/${it.tag}` })}>
                    {t("Show")}
                  </LinkButton>
                ) : (
                  <LinkButton small to="/lanes/$group" params={{ group: it.group }} aria-label={t("Show {x}", { x: it.group })}>
                    {t("Show")}
                  </LinkButton>
                )}
              </li>
            ))}
          </ul>
        </section>
      )}
      <div className="tools">
        <input className="input filter" type="search" value={filter} placeholder={t("Filter groups, lanes, applications")} aria-label={t("Filter groups, lanes, applications")} onChange={(event) => search({ filter: event.target.value })} />
        {namespaces.length > 1 && <Choose label={t("Namespace")} unseen value={namespace} options={[{ value: "", text: t("All namespaces") }, ...namespaces.map((it) => ({ value: it, text: it }))]} onChange={(it) => search({ namespace: it })} />}
        <span className="push small quiet">{t("{n} of {all} groups", { n: shown.length, all: groups.length })}</span>
      </div>
      <section className="panel" aria-label={t("Lane groups")}>
        {shown.length === 0 ? (
          <Empty title={t("No group, lane or application contains “{x}”", { x: filter })} />
        ) : (
          <ul className="groups">
            {shown.map((group) => (
              <Group key={`${group.metadata.namespace}/${group.metadata.name}`} group={group} lanes={lanes} top={top} />
            ))}
          </ul>
        )}
      </section>
    </>
  );
}

function Group({ group, lanes, top }: { group: LaneGroup; lanes: readonly Lane[]; top: Top | undefined }) {
  const own = inOrder(lanes, group);
  const numbers = marks(own);
  const name = group.metadata.name;
  const mode = modeOf(own);
  const applications = group.spec.applications ?? [];
  const picture = swim(group, lanes, []);
  return (
    <li>
      <div className="column">
        <div className="line">
          <Link className="title rowlink" to="/lanes/$group" params={{ group: name }}>
            {name}
          </Link>
          {group.metadata.namespace && group.metadata.namespace !== "default" && <span className="quiet">{group.metadata.namespace}</span>}
          {mode && <span className="chip plain">{mode === "ratio" ? t("By ratio") : t("By content")}</span>}
        </div>
        <div className="facts small">
          <Fact icon="gateway">{entranceText(group)}</Fact>
          <Fact icon="apps">{counted(applications.length, "1 application", "{n} applications")}</Fact>
          {top && own.length > 0 && (
            <Fact icon="status">
              <span className="figure">{t("{r} gray requests/s", { r: rate(picture.rows.slice(0, -1).reduce((sum, row) => sum + (rowRate(top, name, row) ?? 0), 0)) })}</span>
            </Fact>
          )}
        </div>
      </div>
      <Dots swim={picture} />
      <div className="line">
        {own.length === 0 && (
          <LinkButton small icon="plus" to="/new/lane" search={{ group: name }}>
            {t("Create first lane")}
          </LinkButton>
        )}
        {own.slice(0, BADGES_MAX).map((lane) => {
          const tag = tagOf(lane);
          const matched = applications.filter((it) => (matchedOf(lane, it)?.tagged ?? 0) > 0).length;
          return (
            <Link key={tag} to="/lanes/$group/$tag" params={{ group: name, tag }} className="line" title={t("{n} of {all} applications have instances", { n: matched, all: applications.length })}>
              <Badge tag={`${tag} ${matched}/${applications.length}`} number={numbers.get(tag) ?? 1} off={!isEnabled(lane)} />
            </Link>
          );
        })}
        {own.length > BADGES_MAX && (
          <Link className="chip plain" to="/lanes/$group" params={{ group: name }}>
            {t("{n} more", { n: own.length - BADGES_MAX })}
          </Link>
        )}
      </div>
      <Standing group={group} lanes={own} />
    </li>
  );
}

/** How a group stands, in one state and how far its lanes are live. */
function Standing({ group, lanes }: { group: LaneGroup; lanes: readonly Lane[] }) {
  const bad = [group, ...lanes].flatMap(trouble);
  const on = lanes.filter(isEnabled);
  const lives = [group, ...lanes].flatMap((it) => it.status?.live ?? []);
  const all = Math.max(0, ...lives.map((it) => it.dataPlanes));
  const least = Math.min(...lives.map((it) => it.acknowledged), all);
  const worse = lanes.filter(isWorse);
  return (
    <div className="column">
      {worse[0] ? (
        <State mood="bad">{worse.length === 1 ? t("{l} worse", { l: tagOf(worse[0]) }) : t("{n} lanes worse", { n: worse.length })}</State>
      ) : bad.length > 0 ? (
        <State mood="warn">{bad[0]?.type}</State>
      ) : lanes.length === 0 ? (
        <span className="quiet">{t("No lanes")}</span>
      ) : on.length === 0 ? (
        <State mood="off">{t("Disabled")}</State>
      ) : (
        <State mood="ok">{counted(on.length, "1 lane enabled", "{n} lanes enabled")}</State>
      )}
      {all > 0 && <span className="small quiet figure">{t("Live on {n} of {all} data planes", { n: least, all })}</span>}
    </div>
  );
}
