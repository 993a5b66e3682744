// The frame of every page: where one is, where one can go, whether what is seen is live.
import { Link, Outlet, useRouterState } from "@tanstack/react-router";
import { type ReactNode, createContext, useContext, useEffect, useRef, useState } from "react";
import { endSession } from "../api/client";
import { token } from "../api/session";
import { tryNow } from "../live/connection";
import { useConnection, useMustSignIn, useSession, useStatus } from "../live/hooks";
import { grantText } from "../live/may";
import { SignIn } from "../pages/sign-in";
import { setLanguage, t, time, useLanguage } from "../words";
import { Brand, Icon, type IconName } from "./icons";
import { currentTheme, setTheme } from "./theme";
import { Toasts } from "./toasts";
import { Banner, Button } from "./ui";

export interface Crumb {
  text: string;
  to?: string;
}

const Crumbs = createContext<(crumbs: Crumb[]) => void>(() => undefined);

/** Says where this page is, in the top bar and in the window's title; and paints it anew in another language. */
export function usePlace(...crumbs: Crumb[]) {
  useLanguage();
  const set = useContext(Crumbs);
  const text = JSON.stringify(crumbs);
  useEffect(() => {
    const now = JSON.parse(text) as Crumb[];
    set(now);
    document.title = `${now.at(-1)?.text ?? ""} · Laneway`;
  }, [set, text]);
}

/** Who one is to the control plane, and the way out. */
function Who() {
  const session = useSession().data;
  if (!session) return null;
  const { author, grants } = session;
  const canLeave = author.kind === "user" || token() !== null;
  const name = author.kind === "machine" ? t("This machine's user") : author.kind === "anybody" ? t("Anybody") : author.kind === "token" ? t("token {x}", { x: author.name }) : author.name;
  return (
    <div className="who">
      <span className="small strong">{name}</span>
      <span className="small quiet">{grants.map(grantText).join(", ")}</span>
      {canLeave ? (
        <Button look="ghost" small onPress={() => void endSession()}>
          {t("Sign out")}
        </Button>
      ) : (
        author.kind === "machine" && (
          <Link className="btn ghost small" to="/sign-in">
            {t("Sign in as a user")}
          </Link>
        )
      )}
    </div>
  );
}

function Item({ to, also, icon, text, warn }: { to: string; also?: string; icon: IconName; text: string; warn?: boolean }) {
  const path = useRouterState({ select: (state) => state.location.pathname });
  const isHere = path === to || path.startsWith(`${to}/`) || (also !== undefined && path.startsWith(also)) || (to === "/lanes" && path.startsWith("/new/"));
  return (
    <li>
      <Link to={to} aria-current={isHere ? "page" : undefined}>
        <Icon name={icon} />
        {text}
        {warn && (
          <>
            <Icon name="warn" kind="warn" />
            <span className="unseen">{t("degraded")}</span>
          </>
        )}
      </Link>
    </li>
  );
}

function Side({ isOpen, onClose }: { isOpen: boolean; onClose: () => void }) {
  const status = useStatus().data;
  const path = useRouterState({ select: (state) => state.location.pathname });
  const close = useRef(onClose);
  useEffect(() => close.current(), [path]);
  const isSourceBad = status?.sources.some((it) => it.state === "stale") ?? false;
  const isPlaneBad = status ? status.dataPlanes.some((it) => !it.connected || it.behindMs > 5000) || status.findings.some((it) => it.severity !== "warning") : false;
  return (
    <nav className={`side ${isOpen ? "open" : ""}`} aria-label={t("Main")}>
      <div className="brand">
        <Brand />
        Laneway
      </div>
      <div>
        <p>{t("Release")}</p>
        <ul>
          <Item to="/lanes" icon="lanes" text={t("Full-link canary")} />
          <Item to="/applications" icon="apps" text={t("Applications")} />
          <Item to="/explain" icon="explain" text={t("Explain")} />
          <Item to="/tap" icon="tap" text={t("Tap")} />
        </ul>
        <p>{t("Traffic")}</p>
        <ul>
          <Item to="/gateways" icon="gateway" text={t("Gateways")} />
          <Item to="/sources" icon="source" text={t("Sources")} warn={isSourceBad} />
        </ul>
        <p>{t("Operate")}</p>
        <ul>
          <Item to="/events" also="/audit" icon="events" text={t("Events and audit")} />
          <Item to="/status" icon="status" text={t("Status")} warn={isPlaneBad} />
          <Item to="/settings/users" also="/settings" icon="settings" text={t("Settings")} />
        </ul>
      </div>
      <div className="foot">
        <Who />
        {status && <span className="small quiet">Laneway {status.version}</span>}
      </div>
    </nav>
  );
}

function Top({ crumbs, onMenu, isOpen }: { crumbs: Crumb[]; onMenu: () => void; isOpen: boolean }) {
  const { away } = useConnection();
  const language = useLanguage();
  const [theme, keep] = useState(currentTheme());
  return (
    <header className="top">
      <Button look="ghost" className="square menu" aria-label={t("Menu")} aria-expanded={isOpen} onPress={onMenu}>
        <Icon name="menu" />
      </Button>
      <nav className="crumbs" aria-label={t("Breadcrumb")}>
        <ol>
          {crumbs.map((it, index) => (
            <li key={it.text} aria-current={index === crumbs.length - 1 ? "page" : undefined}>
              {it.to ? <Link to={it.to}>{it.text}</Link> : <span>{it.text}</span>}
            </li>
          ))}
        </ol>
      </nav>
      <span className={`live ${away ? "away" : ""}`}>
        <i />
        {away ? t("Not live") : t("Live")}
      </span>
      <Button look="ghost" small onPress={() => setLanguage(language === "zh" ? "en" : "zh")} aria-label={language === "zh" ? "English" : "中文"}>
        <span lang={language === "zh" ? "en" : "zh-CN"}>{language === "zh" ? "EN" : "中文"}</span>
      </Button>
      <Button
        look="ghost"
        className="square"
        aria-label={t("Light or dark")}
        onPress={() => {
          const next = theme === "dark" ? "light" : "dark";
          setTheme(next);
          keep(next);
        }}
      >
        <Icon name={theme === "dark" ? "sun" : "moon"} />
      </Button>
    </header>
  );
}

function AwayBanner() {
  const { away, heard } = useConnection();
  const generation = useStatus().data?.generation.number;
  return (
    <div role="status">
      {away && (
        <div className="top-banner">
          <Banner mood="warn" title={t("The control plane does not answer. Figures since {time}.", { time: time(heard) })} actions={<Button small onPress={tryNow}>{t("Try now")}</Button>}>
            <p>{t("Traffic is not affected: gateways and sidecars keep the rules of generation {n}. Nothing can be changed until it is back; this page tries again by itself.", { n: generation ?? "–" })}</p>
          </Banner>
        </div>
      )}
    </div>
  );
}

export function Shell() {
  const [crumbs, setCrumbs] = useState<Crumb[]>([]);
  const [isOpen, setOpen] = useState(false);
  const isOut = useMustSignIn();
  useLanguage();
  const path = useRouterState({ select: (state) => state.location.pathname });
  const isFirst = useRef(true);
  useEffect(() => {
    if (isFirst.current) isFirst.current = false;
    else document.querySelector<HTMLElement>("h1")?.focus();
  }, [path]);
  if (isOut && path !== "/sign-in") return <SignIn />;
  if (path === "/sign-in") return <Outlet />;
  return (
    <Crumbs value={setCrumbs}>
      <a className="skip" href="#main">
        {t("Skip to content")}
      </a>
      <div className="frame">
        <Side isOpen={isOpen} onClose={() => setOpen(false)} />
        <div className="content">
          <Top crumbs={crumbs} isOpen={isOpen} onMenu={() => setOpen(!isOpen)} />
          <AwayBanner />
          <main id="main" tabIndex={-1}>
            <Outlet />
          </main>
        </div>
      </div>
      <Toasts />
    </Crumbs>
  );
}

export function NotFound({ what }: { what?: ReactNode }) {
  return (
    <div className="empty">
      <h1 tabIndex={-1}>{t("Not found")}</h1>
      <p>{what ?? t("There is no page of this address.")}</p>
      <div className="line">
        <Link className="btn primary" to="/lanes">
          {t("Full-link canary")}
        </Link>
      </div>
    </div>
  );
}
