// Settings: users and what they may, tokens of the API. What is told once is shown until the page is left.
import { useQueryClient } from "@tanstack/react-query";
import { type FormEvent, useState } from "react";
import { type ApiToken, type Grant, Refused, type Role, type User, send } from "../api/client";
import { useApiTokens, useSession, useUsers } from "../live/hooks";
import { grantText, roleName, useWhyNot } from "../live/may";
import { Dialog } from "../parts/dialog";
import { Choose, Field } from "../parts/fields";
import { usePlace } from "../parts/shell";
import { Action, Banner, Bones, Button, Code, Empty, Head, LinkButton, Panel, Table } from "../parts/ui";
import { t } from "../words";

const ROLES: readonly Role[] = ["viewer", "operator", "admin"];

function Tabs({ at }: { at: "users" | "tokens" }) {
  return (
    <>
      <LinkButton to="/settings/users" look={at === "users" ? "primary" : ""}>
        {t("Users")}
      </LinkButton>
      <LinkButton to="/settings/tokens" look={at === "tokens" ? "primary" : ""}>
        {t("API tokens")}
      </LinkButton>
    </>
  );
}

/** Asks, and says what was refused in the API's words. */
function useAsking(path: string) {
  const queries = useQueryClient();
  const [wrong, setWrong] = useState<string>();
  const ask = async (what: () => Promise<unknown>) => {
    setWrong(undefined);
    try {
      await what();
      await queries.invalidateQueries({ queryKey: [path] });
    } catch (error) {
      if (!(error instanceof Refused)) setWrong(t("The control plane does not answer."));
      else setWrong(error.errors.length > 0 ? error.errors.map((it) => `${it.field}: ${it.remedy}`).join("; ") : error.detail);
    }
  };
  return { ask, wrong };
}

function Refusal({ text }: { text: string | undefined }) {
  return <div role="alert">{text && <p className="problem">{text}</p>}</div>;
}

/** Before what has no way back: what it means, and the button that does it. */
function Confirm({ title, what, onClose, onDo }: { title: string; what: string; onClose: () => void; onDo: () => void }) {
  return (
    <Dialog title={title} isOpen onClose={onClose}>
      <p className="second">{what}</p>
      <div className="ends">
        <Button onPress={onClose} autoFocus>
          {t("Cancel")}
        </Button>
        <Button
          look="final"
          onPress={() => {
            onClose();
            onDo();
          }}
        >
          {title}
        </Button>
      </div>
    </Dialog>
  );
}

function Once({ title, secret }: { title: string; secret: string }) {
  return (
    <Banner mood="info" title={title}>
      <Code text={secret} label={title} />
    </Banner>
  );
}

function RoleFields({ role, namespace, onRole, onNamespace }: { role: Role; namespace: string; onRole: (role: Role) => void; onNamespace: (namespace: string) => void }) {
  return (
    <>
      <Choose label={t("Role")} value={role} options={ROLES.map((value) => ({ value, text: roleName(value) }))} onChange={onRole} />
      <Field label={t("Namespace")} value={namespace} onChange={onNamespace} short hint={t("* is everywhere.")} />
    </>
  );
}

export function UsersPage() {
  usePlace({ text: t("Settings"), to: "/settings/users" }, { text: t("Users") });
  const why = useWhyNot("admin", "*");
  const users = useUsers(why === undefined).data;
  const { ask, wrong } = useAsking("/users");
  const [told, setTold] = useState<{ user: string; password: string }>();
  const [leaving, setLeaving] = useState<string>();
  const keep = (it: { user: User; oneTimePassword: string }) => setTold({ user: it.user.name, password: it.oneTimePassword });
  return (
    <div className="stackline">
      <Head title={t("Users")} lead={t("Who may use the API and this console, and for what.")} actions={<Tabs at="users" />} />
      {why && <Banner mood="info" title={why} />}
      {told && <Once title={t("One-time password of {u}; it is shown this once", { u: told.user })} secret={told.password} />}
      {!why && <NewUser onMade={keep} ask={ask} />}
      <Refusal text={wrong} />
      {leaving !== undefined && <Confirm title={t("Remove {x}", { x: leaving })} what={t("{x} is signed out everywhere, and its tokens are good no longer.", { x: leaving })} onClose={() => setLeaving(undefined)} onDo={() => void ask(() => send("DELETE", `/users/${encodeURIComponent(leaving)}`))} />}
      {why ? null : !users ? (
        <Bones label={t("Loading users")} />
      ) : (
        <Panel title={t("Users")}>
          {users.length === 0 ? (
            <Empty title={t("No user")} />
          ) : (
            <Table columns={[t("User"), t("Role"), t("Last signed in"), t("Actions")]} middle>
              {users.map((it) => (
                <tr key={it.name}>
                  <th scope="row">{it.name}</th>
                  <td data-label={t("Role")}>{it.grants.map(grantText).join(", ")}</td>
                  <td data-label={t("Last signed in")} className="figure">
                    {it.lastSignedIn ?? t("never")}
                  </td>
                  <td data-label={t("Actions")}>
                    <div className="line">
                      <Button small onPress={() => void ask(async () => keep(await send("POST", `/users/${encodeURIComponent(it.name)}/password`)))}>
                        {t("New one-time password")}
                      </Button>
                      <Button small look="danger" onPress={() => setLeaving(it.name)} aria-label={t("Remove {x}", { x: it.name })}>
                        {t("Remove")}
                      </Button>
                    </div>
                  </td>
                </tr>
              ))}
            </Table>
          )}
        </Panel>
      )}
    </div>
  );
}

function NewUser({ onMade, ask }: { onMade: (it: { user: User; oneTimePassword: string }) => void; ask: (what: () => Promise<unknown>) => Promise<void> }) {
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [namespace, setNamespace] = useState("*");
  const submit = (event: FormEvent) => {
    event.preventDefault();
    const grants: Grant[] = [{ role, namespace: namespace.trim() }];
    void ask(async () => {
      onMade(await send("POST", "/users", { name: name.trim(), grants }));
      setName("");
    });
  };
  return (
    <Panel title={t("Add user")} lead={t("A one-time password is shown; another is chosen at the first sign-in.")}>
      <form className="body column wide" onSubmit={submit}>
        <Field label={t("Name of the user")} value={name} onChange={setName} short />
        <RoleFields role={role} namespace={namespace} onRole={setRole} onNamespace={setNamespace} />
        <div className="line">
          <Action look="primary" why={name.trim() === "" ? t("Something is missing above.") : undefined}>
            {t("Add user")}
          </Action>
        </div>
      </form>
    </Panel>
  );
}

export function TokensPage() {
  usePlace({ text: t("Settings"), to: "/settings/users" }, { text: t("API tokens") });
  const tokens = useApiTokens().data;
  const { ask, wrong } = useAsking("/api-tokens");
  const [told, setTold] = useState<{ name: string; secret: string }>();
  const [revoking, setRevoking] = useState<ApiToken>();
  const [name, setName] = useState("");
  const [role, setRole] = useState<Role>("viewer");
  const [namespace, setNamespace] = useState("*");
  const [days, setDays] = useState("90");
  const session = useSession().data;
  const submit = (event: FormEvent) => {
    event.preventDefault();
    void ask(async () => {
      const made = await send<{ token: ApiToken; secret: string }>("POST", "/api-tokens", { name: name.trim(), grant: { role, namespace: namespace.trim() }, days: Number(days) });
      setTold({ name: made.token.name, secret: made.secret });
      setName("");
    });
  };
  return (
    <div className="stackline">
      <Head title={t("API tokens")} lead={t("For programs. A token may no more than its owner may, and ends with him.")} actions={<Tabs at="tokens" />} />
      {told && <Once title={t("Token {x}; it is shown this once", { x: told.name })} secret={told.secret} />}
      <Panel title={t("Create token")} lead={session && t("You are {h}.", { h: session.grants.map(grantText).join(", ") })}>
        <form className="body column wide" onSubmit={submit}>
          <Field label={t("What it is for")} value={name} onChange={setName} short />
          <RoleFields role={role} namespace={namespace} onRole={setRole} onNamespace={setNamespace} />
          <Field label={t("Days it is good for")} value={days} onChange={setDays} short wrong={/^\d+$/.test(days) ? undefined : { text: t("Use 1 to 366.") }} />
          <div className="line">
            <Action look="primary" why={name.trim() === "" || !/^\d+$/.test(days) ? t("Something is missing above.") : undefined}>
              {t("Create token")}
            </Action>
          </div>
        </form>
      </Panel>
      <Refusal text={wrong} />
      {revoking && <Confirm title={t("Revoke {x}", { x: revoking.name })} what={t("Whoever shows it is refused at once.")} onClose={() => setRevoking(undefined)} onDo={() => void ask(() => send("DELETE", `/api-tokens/${encodeURIComponent(revoking.id)}`))} />}
      {!tokens ? (
        <Bones label={t("Loading tokens")} />
      ) : (
        <Panel title={t("API tokens")}>
          {tokens.length === 0 ? (
            <Empty title={t("No token")} />
          ) : (
            <Table columns={[t("What it is for"), t("Owner"), t("Role"), t("Expires"), t("Last used"), t("Actions")]} middle>
              {tokens.map((it) => (
                <tr key={it.id}>
                  <th scope="row">{it.name}</th>
                  <td data-label={t("Owner")}>{it.owner ?? t("the machine")}</td>
                  <td data-label={t("Role")}>{it.grant ? grantText(it.grant) : t("as its owner")}</td>
                  <td data-label={t("Expires")} className="figure">
                    {it.expires}
                  </td>
                  <td data-label={t("Last used")} className="figure">
                    {it.lastUsed ?? t("never")}
                  </td>
                  <td data-label={t("Actions")}>
                    <Button small look="danger" onPress={() => setRevoking(it)} aria-label={t("Revoke {x}", { x: it.name })}>
                      {t("Revoke")}
                    </Button>
                  </td>
                </tr>
              ))}
            </Table>
          )}
        </Panel>
      )}
    </div>
  );
}
