// Small parts that every page uses.
import { Link, type LinkProps } from "@tanstack/react-router";
import { type ReactNode, useId, useState } from "react";
import { Button as AriaButton, type ButtonProps, Switch as AriaSwitch } from "react-aria-components";
import { t } from "../words";
import { Icon, type IconName, Mark, laneClass } from "./icons";

type Look = "primary" | "ghost" | "danger" | "final" | "";

export function Button({ look = "", small, icon, children, className = "", ...rest }: Omit<ButtonProps, "className" | "children"> & { look?: Look; small?: boolean; icon?: IconName; children?: ReactNode; className?: string }) {
  return (
    <AriaButton {...rest} className={`btn ${look} ${small ? "small" : ""} ${className}`}>
      {icon && <Icon name={icon} />}
      {children}
    </AriaButton>
  );
}

export function LinkButton({ look = "", small, icon, children, ...rest }: LinkProps & { look?: Look; small?: boolean; icon?: IconName; children: ReactNode }) {
  return (
    <Link {...rest} className={`btn ${look} ${small ? "small" : ""}`}>
      {icon && <Icon name={icon} />}
      {children}
    </Link>
  );
}

/** A button that cannot act now stays, can be reached, and says why. Without `onPress` it submits its form. */
export function Action({ why, onPress, look = "", icon, children }: { why: string | undefined; onPress?: () => void; look?: Look; icon?: IconName; children: ReactNode }) {
  const id = useId();
  return (
    <>
      {why && (
        <span id={id} className="hint">
          {why}
        </span>
      )}
      <button
        type={onPress ? "button" : "submit"}
        className={`btn ${look}`}
        aria-disabled={why ? true : undefined}
        aria-describedby={why ? id : undefined}
        onClick={(event) => {
          if (why) event.preventDefault();
          else onPress?.();
        }}
      >
        {icon && <Icon name={icon} />}
        {children}
      </button>
    </>
  );
}

export function Switch({ isOn, onChange, label, why }: { isOn: boolean; onChange: (isOn: boolean) => void; label: ReactNode; why?: string | undefined }) {
  return (
    <AriaSwitch className="switch" isSelected={isOn} onChange={onChange} isDisabled={why !== undefined}>
      <span className="track" />
      {label}
    </AriaSwitch>
  );
}

export function Panel({ title, lead, actions, children, foot }: { title: ReactNode; lead?: ReactNode; actions?: ReactNode; children: ReactNode; foot?: ReactNode }) {
  const id = useId();
  return (
    <section className="panel" aria-labelledby={id}>
      <header>
        <div>
          <h2 id={id}>{title}</h2>
          {lead && <p>{lead}</p>}
        </div>
        {actions}
      </header>
      {children}
      {foot && <footer>{foot}</footer>}
    </section>
  );
}

/** A lane by its mark and tag; `number` null is base. */
export function Badge({ tag, number, off, big }: { tag: string; number: number | null; off?: boolean; big?: boolean }) {
  return (
    <span className={`badge ${laneClass(number)} ${off ? "off" : ""} ${big ? "big" : ""}`}>
      <Mark number={number} />
      <span>{tag}</span>
    </span>
  );
}

export type Mood = "ok" | "warn" | "bad" | "off" | "wait";

export function State({ mood, children }: { mood: Mood; children: ReactNode }) {
  return (
    <span className={`state ${mood}`}>
      <Icon name={mood} />
      <span>{children}</span>
    </span>
  );
}

export function Banner({ mood, title, children, actions }: { mood: "warn" | "bad" | "info"; title: ReactNode; children?: ReactNode; actions?: ReactNode }) {
  return (
    <div className={`banner ${mood}`}>
      <Icon name={mood === "bad" ? "bad" : "warn"} />
      <div>
        <strong>{title}</strong>
        {children}
      </div>
      {actions}
    </div>
  );
}

/** Rows under the names of their columns; it scrolls within itself, also by the keyboard. */
export function Table({ columns, middle, children }: { columns: (string | { right: string })[]; middle?: boolean; children: ReactNode }) {
  const label = columns.map((it) => (typeof it === "string" ? it : it.right)).join(", ");
  return (
    <div className="scroll" tabIndex={0} role="group" aria-label={label}>
      <table className={middle ? "table middle" : "table"}>
        <thead>
          <tr>
            {columns.map((it) => (typeof it === "string" ? <th key={it}>{it}</th> : <th key={it.right} className="right">{it.right}</th>))}
          </tr>
        </thead>
        <tbody>{children}</tbody>
      </table>
    </div>
  );
}

export function Bones({ label, rows = 4 }: { label: string; rows?: number }) {
  return (
    <div className="panel bones" role="status">
      <span className="unseen">{label}</span>
      {Array.from({ length: rows }, (_, index) => (
        <i key={index} />
      ))}
    </div>
  );
}

export function Empty({ title, children, actions }: { title: ReactNode; children?: ReactNode; actions?: ReactNode }) {
  return (
    <div className="empty">
      <h2>{title}</h2>
      {children}
      {actions && <div className="line">{actions}</div>}
    </div>
  );
}

/** Text to take along. */
export function Code({ text, label }: { text: string; label: string }) {
  const [isCopied, setCopied] = useState(false);
  const copy = () => {
    void navigator.clipboard.writeText(text).then(() => {
      setCopied(true);
      setTimeout(() => setCopied(false), 1500);
    });
  };
  return (
    <div className="code">
      <pre tabIndex={0} aria-label={label}>
        <code>{text}</code>
      </pre>
      <Button look="ghost" small onPress={copy} aria-label={t("Copy: {what}", { what: label })}>
        <Icon name={isCopied ? "check" : "copy"} />
      </Button>
      <span className="unseen" role="status">
        {isCopied ? t("Copied") : ""}
      </span>
    </div>
  );
}

/** What a change writes and the command that does the same, before it is made. */
export function Writes({ yaml, command, open, title }: { yaml: string; command: string; open?: boolean; title?: string }) {
  return (
    <details className="writes" open={open}>
      <summary>{title ?? t("What this writes, and as a command")}</summary>
      <div>
        <span className="label small">YAML</span>
        <Code text={yaml} label="YAML" />
        <span className="label small">{t("Command")}</span>
        <Code text={command} label={t("Command")} />
      </div>
    </details>
  );
}

/** A page's title; whoever comes from another page lands on it. */
export function Head({ title, beside, lead, facts, actions }: { title: ReactNode; beside?: ReactNode; lead?: ReactNode; facts?: ReactNode; actions?: ReactNode }) {
  return (
    <div className="head">
      <div className="titles">
        <div className="line">
          <h1 tabIndex={-1}>{title}</h1>
          {beside}
        </div>
        {lead && <p className="lead">{lead}</p>}
      </div>
      {actions && <div className="line actions">{actions}</div>}
      {facts && <div className="facts">{facts}</div>}
    </div>
  );
}

export function Fact({ icon, children }: { icon: IconName; children: ReactNode }) {
  return (
    <span>
      <Icon name={icon} />
      <span>{children}</span>
    </span>
  );
}

/** A choice of few, each a link or a button that says whether it is the one. */
export function Segments<T extends string>({ label, value, options, onChange }: { label: string; value: T; options: readonly { value: T; text: string }[]; onChange: (value: T) => void }) {
  return (
    <div className="segments" role="group" aria-label={label}>
      {options.map((it) => (
        <button type="button" key={it.value} aria-pressed={it.value === value} onClick={() => onChange(it.value)}>
          {it.text}
        </button>
      ))}
    </div>
  );
}
