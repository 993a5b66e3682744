// Sign in with the API's token, where the control plane does not know the browser's user anyway.
import { useNavigate } from "@tanstack/react-router";
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useEffect, useState } from "react";
import { isKnown } from "../api/client";
import { enter } from "../api/session";
import { Brand } from "../parts/icons";
import { Code } from "../parts/ui";
import { Field } from "../parts/fields";
import { t, useLanguage } from "../words";

export function SignIn({ onDone }: { onDone?: () => void }) {
  useLanguage();
  const queries = useQueryClient();
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState<string>();
  useEffect(() => {
    document.title = `${t("Sign in")} · Laneway`;
  }, []);
  const submit = async (event: FormEvent) => {
    event.preventDefault();
    setWrong(undefined);
    if (!/^[\x21-\x7e]+$/.test(text.trim())) {
      setWrong(t("A token has no blanks and only ASCII characters."));
      return;
    }
    try {
      if (!(await isKnown(text.trim()))) {
        setWrong(t("The control plane does not know this token."));
        return;
      }
      enter(text.trim());
      await queries.invalidateQueries();
      onDone?.();
    } catch {
      setWrong(t("The control plane does not answer."));
    }
  };
  return (
    <main className="sign-in">
      <form className="panel" onSubmit={(event) => void submit(event)}>
        <div className="line">
          <Brand />
          <h1 tabIndex={-1}>{t("Sign in")}</h1>
        </div>
        <p className="second">{t("The control plane asks who you are. Show the token of its data directory; on its machine, its user reads it with:")}</p>
        <Code text="cat DATA/api-token" label={t("Command")} />
        <Field label={t("Token")} value={text} onChange={setText} type="password" wrong={wrong ? { text: wrong } : undefined} eager hint={t("It is kept in this tab alone, until the tab is closed.")} />
        <button className="btn primary" type="submit">
          {t("Sign in")}
        </button>
      </form>
    </main>
  );
}

export function SignInPage() {
  const navigate = useNavigate();
  return <SignIn onDone={() => void navigate({ to: "/lanes" })} />;
}
