// The rule of a lane as a form: conditions, or a ratio and what it sticks to.
import { type Draft, type DraftCondition, FRESH, type Lack, type Parameter, PARAMETERS, entering, isList, isNamed, lackOf, lackOfRatio, operatorsOf, takesValue, withOperator } from "../logic/draft";
import { type Text, t } from "../words";
import { Choose, Field, Radios } from "./fields";
import { Icon } from "./icons";
import { Button, Code } from "./ui";

const LACKS: Record<Lack, Text> = {
  name: "Write the name of the parameter.",
  value: "Write the value.",
  list: "Write values, one a line.",
  percentage: "Write a number from 0 to 100.",
  percent: "Write a percentage from 0 to 100, with at most two decimals.",
  sum: "Together with the other lanes this is more than 100 %.",
  key: "Write the name of the key.",
};

const NAMES: Record<Parameter, Text> = {
  header: "Header",
  query: "Query parameter",
  cookie: "Cookie",
  path: "Path",
  method: "Method",
  host: "Host",
  clientIp: "Client IP",
};

const WORDS: Record<string, Text> = { percentage: "Percentage", regex: "Regular expression", prefix: "Prefix", exists: "exists", notExists: "does not exist", in: "in", notIn: "not in" };

export function RuleForm({ draft, onChange, others, url }: { draft: Draft; onChange: (draft: Draft) => void; others: number; url: string }) {
  return draft.mode === "content" ? <Content draft={draft} onChange={onChange} url={url} /> : <RatioForm draft={draft} onChange={onChange} others={others} />;
}

function Content({ draft, onChange, url }: { draft: Draft; onChange: (draft: Draft) => void; url: string }) {
  const set = (index: number, next: Partial<DraftCondition>) => onChange({ ...draft, conditions: draft.conditions.map((it, at) => (at === index ? { ...it, ...next } : it)) });
  const alone = draft.conditions.length === 1 && draft.conditions[0]?.operator === "!=";
  const curl = draft.conditions.every((it) => lackOf(it) === undefined) ? entering(draft, url) : undefined;
  return (
    <div className="column wide">
      {draft.conditions.length > 1 && (
        <Choose
          label={t("Conditions")}
          value={draft.meet}
          onChange={(meet) => onChange({ ...draft, meet })}
          options={[
            { value: "all", text: t("Meet all conditions") },
            { value: "any", text: t("Meet any condition") },
          ]}
        />
      )}
      {draft.conditions.map((it, index) => (
        <Condition key={index} of={it} number={index + 1} onChange={(next) => set(index, next)} onRemove={draft.conditions.length > 1 ? () => onChange({ ...draft, conditions: draft.conditions.filter((_, at) => at !== index) }) : undefined} />
      ))}
      <div className="line">
        <Button small icon="plus" onPress={() => onChange({ ...draft, conditions: [...draft.conditions, FRESH] })}>
          {t("Add condition")}
        </Button>
      </div>
      {alone && <p className="hint warn">{t("Requests without the parameter match as well: “!=” alone takes nearly everything.")}</p>}
      {curl && (
        <div className="field">
          <span className="label">{t("A request that enters")}</span>
          <Code text={curl} label={t("A request that enters")} />
        </div>
      )}
    </div>
  );
}

function Condition({ of, number, onChange, onRemove }: { of: DraftCondition; number: number; onChange: (next: Partial<DraftCondition>) => void; onRemove: (() => void) | undefined }) {
  const lack = lackOf(of);
  const isTyped = of.name !== "" || of.value !== "";
  return (
    <fieldset className="field">
      <legend className="unseen">{t("Condition {n}", { n: number })}</legend>
      <div className="condition">
        <Choose
          label={t("Parameter")}
          unseen
          value={of.parameter}
          options={PARAMETERS.map((it) => ({ value: it, text: t(NAMES[it]) }))}
          onChange={(parameter) => onChange({ parameter, ...withOperator(of, operatorsOf(parameter).includes(of.operator) ? of.operator : "==") })}
        />
        {isNamed(of.parameter) ? (
          <input className="input mono" aria-label={t("Name of the parameter")} placeholder={t("name")} value={of.name} spellCheck={false} autoComplete="off" onChange={(event) => onChange({ name: event.target.value })} />
        ) : (
          <span className="hint">{t("of the request")}</span>
        )}
        <Choose label={t("Operator")} unseen value={of.operator} options={operatorsOf(of.parameter).map((it) => ({ value: it, text: WORDS[it] ? t(WORDS[it]) : it === "cidr" ? "CIDR" : it }))} onChange={(operator) => onChange(withOperator(of, operator))} />
        {isList(of.operator) ? (
          <textarea className="input mono" aria-label={t("Values, one a line")} placeholder={"7\n8"} rows={Math.min(8, Math.max(2, of.value.split("\n").length))} value={of.value} spellCheck={false} autoComplete="off" onChange={(event) => onChange({ value: event.target.value })} />
        ) : takesValue(of.operator) ? (
          <input className="input mono" aria-label={t("Value")} placeholder={t("Value")} value={of.value} spellCheck={false} autoComplete="off" onChange={(event) => onChange({ value: event.target.value })} />
        ) : (
          <span className="hint">{t("no value needed")}</span>
        )}
        {onRemove ? (
          <Button look="ghost" small aria-label={t("Remove condition {n}", { n: number })} onPress={onRemove}>
            <Icon name="cross" />
          </Button>
        ) : (
          <span />
        )}
      </div>
      {lack && isTyped && <span className="problem">{t(LACKS[lack])}</span>}
    </fieldset>
  );
}

function RatioForm({ draft, onChange, others }: { draft: Draft; onChange: (draft: Draft) => void; others: number }) {
  const lack = lackOfRatio(draft, others);
  const number = Number(draft.percent);
  return (
    <div className="column wide">
      <Field
        label={t("Flow ratio")}
        value={draft.percent}
        short
        eager
        onChange={(percent) => onChange({ ...draft, percent })}
        hint={t("Percent of the requests; at most two decimals.")}
        wrong={lack === "percent" || lack === "sum" ? { text: t(LACKS[lack]), ...(lack === "sum" ? { remedy: { text: t("Use {x}", { x: `${round(100 - others)} %` }), do: () => onChange({ ...draft, percent: String(round(100 - others)) }) } } : {}) } : undefined}
      />
      <input type="range" min={0} max={100} step={1} value={Number.isFinite(number) ? number : 0} aria-label={t("Flow ratio")} onChange={(event) => onChange({ ...draft, percent: event.target.value })} />
      <p className="hint">{t("Base keeps {p} %.", { p: Math.max(0, round(100 - others - (Number.isFinite(number) ? number : 0))) })}</p>
      <Choose
        label={t("Sticky by")}
        value={draft.sticky}
        onChange={(sticky) => onChange({ ...draft, sticky })}
        options={[
          { value: "", text: t("None: draw each request") },
          { value: "header", text: t("Header") },
          { value: "cookie", text: t("Cookie") },
          { value: "query", text: t("Query parameter") },
          { value: "clientIp", text: t("Client IP") },
        ]}
      />
      {draft.sticky !== "" && draft.sticky !== "clientIp" && <Field label={t("Name of the key")} mono short value={draft.stickyName} onChange={(stickyName) => onChange({ ...draft, stickyName })} wrong={lack === "key" ? { text: t(LACKS.key) } : undefined} />}
      {draft.sticky === "cookie" && <IssueForm draft={draft} onChange={onChange} />}
      <p className="hint">{t("The same value always gets the same lane, at every gateway. Raising the ratio later moves nobody out of the lane. Without a key each request is drawn on its own.")}</p>
    </div>
  );
}

/** How gateways give the cookie to browsers that have none. */
function IssueForm({ draft, onChange }: { draft: Draft; onChange: (draft: Draft) => void }) {
  const { issue } = draft;
  const change = (part: Partial<NonNullable<Draft["issue"]>>) => onChange({ ...draft, issue: { ...issue, ...part } });
  const text = (of: string) => (of.trim() === "" ? null : of.trim());
  return (
    <>
      <Choose
        label={t("Browsers without the cookie")}
        value={issue ? "issue" : ""}
        onChange={(way) => onChange({ ...draft, issue: way === "" ? undefined : (issue ?? { maxAge: "30d" }) })}
        options={[
          { value: "", text: t("None: draw each request") },
          { value: "issue", text: t("Issue: draw once and set the cookie") },
        ]}
      />
      {issue && (
        <>
          <Field label={t("Kept for")} mono short value={issue.maxAge ?? ""} onChange={(maxAge) => change({ maxAge: text(maxAge) })} hint={t("Such as 30d or 12h; empty: until the browser is closed.")} />
          <Field label={t("Path")} mono short value={issue.path ?? ""} onChange={(path) => change({ path: text(path) })} hint={t("Empty: every path.")} />
          <Field label={t("Domain")} mono short value={issue.domain ?? ""} onChange={(domain) => change({ domain: text(domain) })} hint={t("Empty: the host that was asked.")} />
          <Choose
            label="SameSite"
            value={issue.sameSite ?? ""}
            onChange={(sameSite) => change({ sameSite: sameSite === "" ? null : sameSite })}
            options={[
              { value: "", text: t("As usual: lax") },
              { value: "lax", text: "lax" },
              { value: "strict", text: "strict" },
              { value: "none", text: "none" },
            ]}
          />
          <Choose
            label="Secure"
            value={issue.secure == null ? "" : issue.secure ? "yes" : "no"}
            onChange={(secure) => change({ secure: secure === "" ? null : secure === "yes" })}
            options={[
              { value: "", text: t("As the request came") },
              { value: "yes", text: t("Yes") },
              { value: "no", text: t("No") },
            ]}
          />
          <Choose
            label={t("Also on answers that everybody may keep")}
            value={issue.onPublicAnswers ? "yes" : "no"}
            onChange={(on) => change({ onPublicAnswers: on === "yes" ? true : null })}
            options={[
              { value: "no", text: t("No") },
              { value: "yes", text: t("Yes") },
            ]}
          />
        </>
      )}
    </>
  );
}

function round(value: number): number {
  return Math.round(value * 100) / 100;
}

/** The mode, which the first lane decides for its group. */
export function ModeForm({ draft, onChange, locked }: { draft: Draft; onChange: (draft: Draft) => void; locked?: string | undefined }) {
  const why = (mode: Draft["mode"]) => (locked && draft.mode !== mode ? locked : undefined);
  return (
    <Radios
      legend={t("Canary release mode")}
      name="mode"
      value={draft.mode}
      onChange={(mode) => onChange({ ...draft, mode })}
      options={[
        { value: "content", text: t("Canary release by content"), lead: t("Requests that carry a header, cookie or parameter enter. Best for testing before users see it."), why: why("content") },
        { value: "ratio", text: t("Canary release by ratio"), lead: t("A share of all requests enters. Best for releasing step by step."), why: why("ratio") },
      ]}
    />
  );
}
