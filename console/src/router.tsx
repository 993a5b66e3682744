// Every address there is. Verbs live under /new, so that no name of a group collides with them. Pages that most visits
// do not open are loaded when they are.
import { createRootRoute, createRoute, createRouter, lazyRouteComponent, redirect } from "@tanstack/react-router";
import { NotFound, Shell } from "./parts/shell";
import { HomePage } from "./pages/home";
import { SignInPage } from "./pages/sign-in";

/** What is in the query string are texts; anything else is left out. */
function texts<K extends string>(...names: K[]) {
  return (search: Record<string, unknown>): Partial<Record<K, string>> => {
    const kept = names.map((name) => [name, search[name]] as const).filter(([, value]) => ["string", "number", "boolean"].includes(typeof value));
    return Object.fromEntries(kept.map(([name, value]) => [name, String(value)])) as Partial<Record<K, string>>;
  };
}

const root = createRootRoute({ component: Shell, notFoundComponent: () => <NotFound /> });
const at = <P extends string>(path: P) => ({ getParentRoute: () => root, path });

const homeRoute = createRoute({ ...at("/lanes"), component: HomePage, validateSearch: texts("filter", "namespace") });
const groupRoute = createRoute({ ...at("/lanes/$group"), component: lazyRouteComponent(() => import("./pages/group"), "GroupPage"), validateSearch: texts("view") });
const laneRoute = createRoute({ ...at("/lanes/$group/$tag"), component: lazyRouteComponent(() => import("./pages/lane"), "LanePage"), validateSearch: texts("edit") });
const promoteRoute = createRoute({ ...at("/lanes/$group/$tag/promote"), component: lazyRouteComponent(() => import("./pages/promote"), "PromotePage") });
const newGroupRoute = createRoute({ ...at("/new/lane-group"), component: lazyRouteComponent(() => import("./pages/create"), "CreateGroupPage"), validateSearch: texts("step") });
const newLaneRoute = createRoute({ ...at("/new/lane"), component: lazyRouteComponent(() => import("./pages/create"), "CreateLanePage"), validateSearch: texts("step", "group") });
const explainRoute = createRoute({
  ...at("/explain"),
  component: lazyRouteComponent(() => import("./pages/explain"), "ExplainPage"),
  validateSearch: texts("method", "url", "headers", "gateway", "clientIp", "path"),
});
const tapRoute = createRoute({ ...at("/tap"), component: lazyRouteComponent(() => import("./pages/tap"), "TapPage"), validateSearch: texts("group", "lane", "application", "rate") });
const gatewaysRoute = createRoute({ ...at("/gateways"), component: lazyRouteComponent(() => import("./pages/gateways"), "GatewaysPage") });
const gatewayRoute = createRoute({ ...at("/gateways/$gateway"), component: lazyRouteComponent(() => import("./pages/gateways"), "GatewayPage") });
const applicationsRoute = createRoute({ ...at("/applications"), component: lazyRouteComponent(() => import("./pages/applications"), "ApplicationsPage") });
const applicationRoute = createRoute({ ...at("/applications/$application"), component: lazyRouteComponent(() => import("./pages/applications"), "ApplicationPage"), validateSearch: texts("window") });
const sourcesRoute = createRoute({ ...at("/sources"), component: lazyRouteComponent(() => import("./pages/sources"), "SourcesPage"), validateSearch: texts("filter") });
const statusRoute = createRoute({ ...at("/status"), component: lazyRouteComponent(() => import("./pages/status"), "StatusPage") });
const eventsRoute = createRoute({ ...at("/events"), component: lazyRouteComponent(() => import("./pages/audit"), "EventsPage"), validateSearch: texts("filter") });
const auditRoute = createRoute({ ...at("/audit"), component: lazyRouteComponent(() => import("./pages/audit"), "AuditPage"), validateSearch: texts("about") });
const usersRoute = createRoute({ ...at("/settings/users"), component: lazyRouteComponent(() => import("./pages/settings"), "UsersPage") });
const tokensRoute = createRoute({ ...at("/settings/tokens"), component: lazyRouteComponent(() => import("./pages/settings"), "TokensPage") });
const signInRoute = createRoute({ ...at("/sign-in"), component: SignInPage });
const index = createRoute({
  ...at("/"),
  beforeLoad: () => {
    throw redirect({ to: "/lanes" });
  },
});

export const router = createRouter({
  routeTree: root.addChildren([index, homeRoute, groupRoute, laneRoute, promoteRoute, newGroupRoute, newLaneRoute, explainRoute, tapRoute, gatewaysRoute, gatewayRoute, applicationsRoute, applicationRoute, sourcesRoute, statusRoute, eventsRoute, auditRoute, usersRoute, tokensRoute, signInRoute]),
  defaultPreload: "intent",
  scrollRestoration: false,
});

declare module "@tanstack/react-router" {
  interface Register {
    router: typeof router;
  }
}
