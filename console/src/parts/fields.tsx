// Fields of forms: label, control, hint, then what is wrong and a button that repairs it.
import { type ReactNode, useId, useState } from "react";
import { Button } from "./ui";

export interface Wrong {
  text: string;
  remedy?: { text: string; do: () => void };
}

interface FieldProps {
  label: string;
  value: string;
  onChange: (value: string) => void;
  hint?: ReactNode;
  wrong?: Wrong | undefined;
  mono?: boolean;
  short?: boolean;
  lines?: number;
  placeholder?: string;
  type?: string;
  /** What browsers fill it with by themselves. */
  complete?: string;
  /** Told at once; otherwise when the field is left. */
  eager?: boolean;
}

export function Field({ label, value, onChange, hint, wrong, mono, short, lines, placeholder, type = "text", complete = "off", eager }: FieldProps) {
  const id = useId();
  const [isLeft, setLeft] = useState(false);
  const told = wrong && (isLeft || eager) ? wrong : undefined;
  const described = [hint ? `${id}-hint` : "", told ? `${id}-wrong` : ""].filter(Boolean).join(" ");
  const shared = {
    id,
    value,
    placeholder,
    "aria-describedby": described || undefined,
    "aria-invalid": told ? true : undefined,
    spellCheck: false,
    autoComplete: complete,
    onBlur: () => setLeft(true),
    className: `input ${mono ? "mono" : ""}`,
  };
  return (
    <div className={`field ${short ? "short" : ""}`} data-wrong={told ? "" : undefined}>
      <label htmlFor={id}>{label}</label>
      {lines ? (
        <textarea {...shared} rows={lines} onChange={(event) => onChange(event.target.value)} />
      ) : (
        <input {...shared} type={type} onChange={(event) => onChange(event.target.value)} />
      )}
      {hint && (
        <div id={`${id}-hint`} className="hint">
          {hint}
        </div>
      )}
      {told && (
        <div id={`${id}-wrong`} className="problem" role="alert">
          <span>{told.text}</span>
          {told.remedy && (
            <Button small onPress={told.remedy.do}>
              {told.remedy.text}
            </Button>
          )}
        </div>
      )}
    </div>
  );
}

export interface Option<T extends string> {
  value: T;
  text: string;
}

export function Choose<T extends string>({ label, unseen, value, options, onChange }: { label: string; unseen?: boolean; value: T; options: readonly Option<T>[]; onChange: (value: T) => void }) {
  const id = useId();
  const control = (
    <select id={id} className="input" value={value} aria-label={unseen ? label : undefined} onChange={(event) => onChange(event.target.value as T)}>
      {options.map((it) => (
        <option key={it.value} value={it.value}>
          {it.text}
        </option>
      ))}
    </select>
  );
  if (unseen) return control;
  return (
    <div className="field">
      <label htmlFor={id}>{label}</label>
      {control}
    </div>
  );
}

export interface RadioOption<T extends string> extends Option<T> {
  lead?: ReactNode;
  why?: string | undefined;
}

/** One of a few, each with what it means. One that cannot be chosen says why. */
export function Radios<T extends string>({ legend, name, value, options, onChange }: { legend: string; name: string; value: T; options: readonly RadioOption<T>[]; onChange: (value: T) => void }) {
  const id = useId();
  return (
    <fieldset className="field">
      <legend>{legend}</legend>
      <div className="choices">
        {options.map((it) => (
          <label className="choice" key={it.value}>
            <input type="radio" name={name} checked={it.value === value} disabled={it.why !== undefined} aria-describedby={`${id}-${it.value}`} onChange={() => onChange(it.value)} />
            <span>
              <span className="strong">{it.text}</span>
              <span id={`${id}-${it.value}`} className="hint">
                <br />
                {it.why ?? it.lead}
              </span>
            </span>
          </label>
        ))}
      </div>
    </fieldset>
  );
}
