// Sign in as a user, or with a token, where the control plane does not know the browser's user anyway. Whoever has a
// one-time password chooses another at once.
import { type FormEvent, type ReactNode, useEffect, useState } from "react";
import { Refused, changePassword, isKnown, signIn } from "../api/client";
import { enter } from "../api/session";
import { Field } from "../parts/fields";
import { Brand } from "../parts/icons";
import { Button } from "../parts/ui";
import { t, useLanguage } from "../words";

/** Characters that the control plane takes for a password at least. */
const PASSWORD_MIN = 12;

type Stage = { at: "user" } | { at: "token" } | { at: "password"; user: string; current: string };

export function SignIn({ next }: { next?: string }) {
  useLanguage();
  const [stage, setStage] = useState<Stage>({ at: "user" });
  useEffect(() => {
    document.title = `${t("Sign in")} · Laneway`;
  }, []);
  const done = (token: string | null) => {
    enter(token);
    // Nothing of what somebody else saw in this tab stays.
    location.assign(next ?? location.href);
  };
  return (
    <main className="sign-in">
      {stage.at === "user" && <AsUser onDone={() => done(null)} onOnce={(user, current) => setStage({ at: "password", user, current })} onToken={() => setStage({ at: "token" })} />}
      {stage.at === "token" && <WithToken onDone={done} onUser={() => setStage({ at: "user" })} />}
      {stage.at === "password" && <Choose user={stage.user} current={stage.current} onDone={() => done(null)} />}
    </main>
  );
}

function Form({ title, lead, submit, wrong, children, other }: { title: string; lead: ReactNode; submit: () => Promise<void>; wrong: string | undefined; children: ReactNode; other?: ReactNode }) {
  const [isBusy, setBusy] = useState(false);
  const go = async (event: FormEvent) => {
    event.preventDefault();
    if (isBusy) return;
    setBusy(true);
    try {
      await submit();
    } finally {
      setBusy(false);
    }
  };
  return (
    <form className="panel" onSubmit={(event) => void go(event)}>
      <div className="line">
        <Brand />
        <h1 tabIndex={-1}>{title}</h1>
      </div>
      <p className="second">{lead}</p>
      {children}
      <div role="alert">{wrong && <p className="problem">{wrong}</p>}</div>
      <div className="line">
        <button className="btn primary" type="submit" aria-busy={isBusy}>
          {title}
        </button>
        {other}
      </div>
    </form>
  );
}

/** What went wrong, in the API's own words where they say more. */
function told(error: unknown): string {
  if (!(error instanceof Refused)) return t("The control plane does not answer.");
  if (error.status === 403 && error.message === "not let in" && !error.detail.includes("one-time")) return t("User or password is wrong.");
  return error.errors[0]?.remedy ?? error.detail;
}

function AsUser({ onDone, onOnce, onToken }: { onDone: () => void; onOnce: (user: string, current: string) => void; onToken: () => void }) {
  const [user, setUser] = useState("");
  const [password, setPassword] = useState("");
  const [wrong, setWrong] = useState<string>();
  const submit = async () => {
    setWrong(undefined);
    try {
      const { session } = await signIn(user.trim(), password);
      if (session.mustChangePassword) onOnce(user.trim(), password);
      else onDone();
    } catch (error) {
      setWrong(told(error));
    }
  };
  const other = (
    <Button look="ghost" onPress={onToken}>
      {t("Use a token instead")}
    </Button>
  );
  return (
    <Form title={t("Sign in")} lead={t("The control plane asks who you are. Its first start printed a one-time password of the user admin.")} submit={submit} wrong={wrong} other={other}>
      <Field label={t("User")} value={user} onChange={setUser} complete="username" />
      <Field label={t("Password")} value={password} onChange={setPassword} type="password" complete="current-password" />
    </Form>
  );
}

function WithToken({ onDone, onUser }: { onDone: (token: string) => void; onUser: () => void }) {
  const [text, setText] = useState("");
  const [wrong, setWrong] = useState<string>();
  const submit = async () => {
    setWrong(undefined);
    const token = text.trim();
    if (!/^[\x21-\x7e]+$/.test(token)) {
      setWrong(t("A token has no blanks and only ASCII characters."));
      return;
    }
    try {
      if (await isKnown(token)) onDone(token);
      else setWrong(t("The control plane does not know this token."));
    } catch {
      setWrong(t("The control plane does not answer."));
    }
  };
  const other = (
    <Button look="ghost" onPress={onUser}>
      {t("Sign in as a user")}
    </Button>
  );
  return (
    <Form title={t("Sign in")} lead={t("Show a token of the API, or that of the control plane's data directory.")} submit={submit} wrong={wrong} other={other}>
      <Field label={t("Token")} value={text} onChange={setText} type="password" hint={t("It is kept in this tab alone, until the tab is closed.")} />
    </Form>
  );
}

function Choose({ user, current, onDone }: { user: string; current: string; onDone: () => void }) {
  const [password, setPassword] = useState("");
  const [again, setAgain] = useState("");
  const [wrong, setWrong] = useState<string>();
  const submit = async () => {
    setWrong(undefined);
    if (password.length < PASSWORD_MIN) setWrong(t("Choose at least 12 characters."));
    else if (password !== again) setWrong(t("The two are not the same."));
    else {
      try {
        await changePassword(current, password);
        onDone();
      } catch (error) {
        setWrong(told(error));
      }
    }
  };
  return (
    <Form title={t("Choose a password")} lead={t("{u} has a one-time password. Choose another; nothing else can be done before.", { u: user })} submit={submit} wrong={wrong}>
      <Field label={t("New password")} value={password} onChange={setPassword} type="password" complete="new-password" hint={t("At least 12 characters.")} />
      <Field label={t("The same again")} value={again} onChange={setAgain} type="password" complete="new-password" />
    </Form>
  );
}

export function SignInPage() {
  return <SignIn next="/lanes" />;
}
