// Events and audit: what happened, and who changed what from what to what, with a way to undo it.
import { useQueryClient } from "@tanstack/react-query";
import { getRouteApi, Link } from "@tanstack/react-router";
import { useState } from "react";
import { type AuditEntry, type Event, type FieldChange, type Lane, Refused, send } from "../api/client";
import { failed } from "../live/changes";
import { useAudit, useEvents, useObjects } from "../live/hooks";
import { useWhyNot } from "../live/may";
import { Dialog } from "../parts/dialog";
import { Field } from "../parts/fields";
import { usePlace } from "../parts/shell";
import { toast } from "../parts/toasts";
import { Action, Bones, Button, Code, Empty, Head, LinkButton, Panel, State, Table } from "../parts/ui";
import { tagOf } from "../logic/lanes";
import { t } from "../words";

const auditRoute = getRouteApi("/audit");
const eventsRoute = getRouteApi("/events");

function Tabs({ at }: { at: "events" | "audit" }) {
  return (
    <>
      <LinkButton to="/events" look={at === "events" ? "primary" : ""}>
        {t("Events")}
      </LinkButton>
      <LinkButton to="/audit" look={at === "audit" ? "primary" : ""}>
        {t("Audit")}
      </LinkButton>
    </>
  );
}

/** As it is shown: day and time, in UTC as the API tells it. */
function when(time: string): string {
  return time.replace("T", " ").replace(/(\.\d+)?Z$/, " UTC");
}

export function EventsPage() {
  usePlace({ text: t("Events") });
  const { filter = "" } = eventsRoute.useSearch();
  const navigate = eventsRoute.useNavigate();
  const events = useEvents().data;
  const lanes = useObjects("lanes").objects;
  const words = filter.toLowerCase();
  const shown = (events ?? []).filter((it) => [it.about, it.reason, it.message].some((text) => (text ?? "").toLowerCase().includes(words))).reverse();
  return (
    <div className="stackline">
      <Head title={t("Events")} lead={t("What happened lately: objects, sources, data planes.")} actions={<Tabs at="events" />} />
      {!events ? (
        <Bones label={t("Loading events")} />
      ) : (
        <Panel
          title={t("The latest first")}
          actions={<input className="input filter" type="search" value={filter} placeholder={t("Filter events")} aria-label={t("Filter events")} onChange={(event) => void navigate({ search: event.target.value ? { filter: event.target.value } : {}, replace: true })} />}
        >
          {shown.length === 0 ? (
            <Empty title={t("No event")} />
          ) : (
            <Table columns={[t("Time"), t("About"), t("Reason"), t("Message")]}>
              {shown.slice(0, 200).map((it) => (
                <tr key={it.number}>
                  <td data-label={t("Time")} className="figure">
                    {when(it.time)}
                  </td>
                  <th scope="row">
                    <About event={it} lanes={lanes} />
                  </th>
                  <td data-label={t("Reason")}>
                    <State mood={it.reason === "Worse" ? "bad" : it.warning ? "warn" : "ok"}>{reasonText(it.reason ?? "")}</State>
                  </td>
                  <td data-label={t("Message")}>{it.message}</td>
                </tr>
              ))}
            </Table>
          )}
        </Panel>
      )}
    </div>
  );
}

/** What an event is about; a lane that is there still leads to its page. */
function About({ event, lanes }: { event: Event; lanes: readonly Lane[] }) {
  const { object } = event;
  const lane = object?.kind === "Lane" ? lanes.find((it) => it.metadata.name === object.name && (it.metadata.namespace ?? "default") === object.namespace) : undefined;
  if (!lane) return event.about;
  return (
    <Link to="/lanes/$group/$tag" params={{ group: lane.spec.group, tag: tagOf(lane) }}>
      {event.about}
    </Link>
  );
}

/** Reasons are names, of which people know these in their own words. */
function reasonText(reason: string): string {
  return reason === "Worse" ? t("Worse") : reason === "NoWorse" ? t("No worse") : reason;
}

export function AuditPage() {
  usePlace({ text: t("Audit") });
  const { about } = auditRoute.useSearch();
  const entries = useAudit(about).data;
  const [undoing, setUndoing] = useState<AuditEntry>();
  return (
    <div className="stackline">
      <Head title={t("Audit")} lead={about ?? t("Who changed what, when and why. An entry is never changed; an undo is a change of its own.")} actions={<Tabs at="audit" />} />
      {!entries ? (
        <Bones label={t("Loading the audit")} />
      ) : (
        <Panel title={t("The latest first")} actions={about && <LinkButton small to="/audit">{t("Show all")}</LinkButton>}>
          {entries.length === 0 ? (
            <Empty title={t("No change")} />
          ) : (
            <Table columns={[t("Time"), t("Who"), t("What"), t("From → to"), t("Note"), t("Undo")]}>
              {entries.map((it) => (
                <Entry key={it.number} entry={it} onUndo={() => setUndoing(it)} />
              ))}
            </Table>
          )}
        </Panel>
      )}
      {undoing && <UndoDialog entry={undoing} onClose={() => setUndoing(undefined)} />}
    </div>
  );
}

function Entry({ entry, onUndo }: { entry: AuditEntry; onUndo: () => void }) {
  const done = entry.action === "created" ? t("created") : entry.action === "deleted" ? t("deleted") : entry.action === "refused" ? t("refused") : t("changed");
  const who = entry.author.kind === "token" ? t("token {x}", { x: entry.author.name }) : entry.author.kind === "file" ? t("file {x}", { x: entry.author.name }) : entry.author.name;
  return (
    <tr>
      <td data-label={t("Time")} className="figure">
        {when(entry.time)}
      </td>
      <td data-label={t("Who")}>{who}</td>
      <th scope="row">
        {entry.about}
        <br />
        <span className="small second">
          {done}
          {entry.undoes != null && ` · ${t("undoes {n}", { n: entry.undoes })}`}
        </span>
      </th>
      <td data-label={t("From → to")}>
        <Changes changes={entry.changes ?? []} />
      </td>
      <td data-label={t("Note")}>{entry.note || <span className="quiet">–</span>}</td>
      <td data-label={t("Undo")}>
        {entry.object ? (
          <Button small onPress={onUndo} aria-label={t("Undo change {n}", { n: entry.number })}>
            {t("Undo")}
          </Button>
        ) : (
          <span className="quiet">–</span>
        )}
      </td>
    </tr>
  );
}

function Changes({ changes }: { changes: readonly FieldChange[] }) {
  const word = (value: unknown) => (value === undefined || value === null ? t("nothing") : typeof value === "string" ? value : JSON.stringify(value));
  if (changes.length === 0) return <span className="quiet">–</span>;
  return (
    <div className="column">
      {changes.map((it) => (
        <span key={it.field} className="small">
          <span className="mono">{it.field}</span>: {word(it.before)} → {word(it.after)}
        </span>
      ))}
    </div>
  );
}

function UndoDialog({ entry, onClose }: { entry: AuditEntry; onClose: () => void }) {
  const queries = useQueryClient();
  const [note, setNote] = useState("");
  const [problem, setProblem] = useState<Refused>();
  const [isBusy, setBusy] = useState(false);
  const why = useWhyNot("operator", entry.object?.namespace);
  const undo = async () => {
    setBusy(true);
    setProblem(undefined);
    try {
      await send("POST", `/audit/${entry.number}/undo`, {}, note.trim());
      toast({ mood: "ok", title: t("Change {n} is undone", { n: entry.number }) });
      await queries.invalidateQueries({ queryKey: ["/audit?limit=100"] });
      onClose();
    } catch (error) {
      if (error instanceof Refused) setProblem(error);
      else failed(t("{x} stays as it was", { x: entry.about }), error);
    } finally {
      setBusy(false);
    }
  };
  return (
    <Dialog title={t("Undo change {n}", { n: entry.number })} isOpen onClose={onClose}>
      <p className="second">{t("A new change of {x} takes this one back. What others changed since stays.", { x: entry.about })}</p>
      <Changes changes={entry.changes ?? []} />
      <Code text={`laneway undo ${entry.number}`} label={t("Command")} />
      <Field label={t("Note")} value={note} onChange={setNote} hint={t("Why, for whoever reads the audit.")} />
      <div role="alert">
        {problem && (
          <div className="problem column">
            <span>{problem.detail}</span>
            {problem.errors.map((it) => (
              <span key={it.field} className="small">
                <span className="mono">{it.field}</span>: {it.value}. {it.remedy}
              </span>
            ))}
          </div>
        )}
      </div>
      <div className="ends">
        <Button onPress={onClose} autoFocus>
          {t("Cancel")}
        </Button>
        <Action look="primary" why={why ?? (isBusy ? t("On its way") : undefined)} onPress={() => void undo()}>
          {t("Undo")}
        </Action>
      </div>
    </Dialog>
  );
}
