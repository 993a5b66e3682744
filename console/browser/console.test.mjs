// The console in a browser, against the real binary and the running demo: what people do, in the order they do it.
import assert from "node:assert/strict";
import { mkdirSync } from "node:fs";
import { after, before, describe, it } from "node:test";
import { DEMO, accessible, api, chain, clean, demo, empty, faulty, healthy, launch, open, sample, serve, until } from "./world.mjs";

const shots = process.env.LANEWAY_SHOTS;
const EXPLAINED = "/explain?url=http%3A%2F%2F127.0.0.1%3A8000%2Fa&headers=canary%3A%20gray&path=sc-A%2Csc-B%2Csc-C";

/** Every page, and what is on it once it is whole. */
const PAGES = {
  lanes: ["/lanes", "rollout"],
  group: ["/lanes/trade", "spring-cloud-b"],
  lane: ["/lanes/trade/gray", "Live on 6 of 6 data planes", "6 / 6 个数据面已生效"],
  promote: ["/lanes/trade/gray/promote", "Begin to promote", "开始转为基线"],
  "edit-content": ["/lanes/trade/gray?edit=rule", "curl -H 'canary: gray'"],
  "edit-ratio": ["/lanes/rollout/gray?edit=rule", "70 %"],
  "new-lane-group": ["/new/lane-group", "Spring Cloud Gateway"],
  "new-lane": ["/new/lane?group=trade", "spring-cloud-b"],
  explain: [EXPLAINED, "127.0.0.23:15006"],
  tap: ["/tap?group=trade&lane=gray", "laneway tap trade/gray"],
  applications: ["/applications", "spring-cloud-b"],
  application: ["/applications/spring-cloud-a", "Total QPS", "总 QPS"],
  gateways: ["/gateways", "rollout, trade"],
  gateway: ["/gateways/edge", "/ratio"],
  sources: ["/sources", "sc-C"],
  status: ["/status", "127.0.0.23:15020"],
  events: ["/events", "The latest first", "最新在前"],
  audit: ["/audit", "LaneGroup trade"],
  users: ["/settings/users", "admin everywhere", "全局管理员"],
  tokens: ["/settings/tokens", "Days it is good for", "有效天数"],
  "sign-in": ["/sign-in", "Use a token instead", "改用令牌"],
};

let browser;
let running;

before(async () => {
  if (shots) mkdirSync(shots, { recursive: true });
  [running, browser] = await Promise.all([demo(), launch()]);
});
after(async () => {
  await browser?.close();
  await clean(running);
});

/** A request in the lane as the mesh answers it now. */
const canary = () => chain({ canary: "gray" });

describe("every page", { concurrency: 2 }, () => {
  for (const [theme, language, width] of [
    ["light", "en", 1280],
    ["dark", "zh", 1280],
    ["dark", "en", 390],
    ["light", "zh", 390],
  ]) {
    it(`has no violation in ${theme}, ${language}, at ${width} px`, async () => {
      const page = await open(browser, { theme, language, width });
      for (const [name, [url, english, chinese]] of Object.entries(PAGES)) {
        await page.goto(url);
        await page.getByText(language === "zh" && chinese ? chinese : english).first().waitFor({ state: "attached" });
        assert.equal(await page.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0, `${name} scrolls sideways`);
        await accessible(page, `${name}, ${theme}, ${language}, ${width} px`);
        await healthy(page);
        if (shots) await page.screenshot({ path: `${shots}/${name}-${theme}-${language}-${width}.png`, fullPage: true });
      }
      await page.context().close();
    });
  }

  it("is Chinese where Chinese is asked for, and changes at once", async () => {
    const page = await open(browser, { language: "zh" });
    await page.goto("/lanes");
    await page.getByRole("heading", { level: 1, name: "全链路灰度" }).waitFor();
    await page.getByRole("button", { name: "English" }).click();
    await page.getByRole("heading", { level: 1, name: "Full-link canary" }).waitFor();
    await page.reload();
    await page.getByRole("heading", { level: 1, name: "Full-link canary" }).waitFor();
    await page.context().close();
  });

  it("that is none says so", async () => {
    const page = await open(browser);
    for (const url of ["/nowhere", "/lanes/nothing", "/lanes/trade/nothing", "/gateways/nothing"]) {
      await page.goto(url);
      await page.getByRole("heading", { level: 1, name: "Not found" }).waitFor();
    }
    await page.context().close();
  });
});

describe("what passes", () => {
  it("is seen on the diagram, in the traffic distribution, beside base and as QPS data", async () => {
    await sample();
    const page = await open(browser);
    // Until all has been looked at there are requests, two in the lane for one of base.
    let isSeen = false;
    const traffic = (async () => {
      while (!isSeen) await Promise.all([canary(), canary(), chain({})]);
    })();
    try {
      await passes(page);
    } finally {
      isSeen = true;
      await traffic;
    }
    await healthy(page);
    await page.context().close();
  });
});

/** Everywhere a person looks for what passes. */
async function passes(page) {
  await page.goto("/lanes/trade");
  await page.getByRole("gridcell", { name: /^gray, spring-cloud-a: 1 usable instance, [\d.]+ requests per second, 0 % errors$/ }).waitFor();
  await page.getByRole("gridcell", { name: /^gray, spring-cloud-b: no usable instance of the lane; served by base, [\d.]+ requests per second/ }).waitFor();
  const row = page.getByRole("row", { name: /gray.*header canary == gray/ }).last();
  await until("the share of the lane", async () => {
    const share = Number.parseFloat(await row.locator('[data-label="Share of the last minute"]').innerText());
    return share > 50 && share < 90;
  });
  await accessible(page, "group with traffic");
  if (shots) await page.screenshot({ path: `${shots}/traffic.png`, fullPage: true });

  await page.goto("/lanes/trade/gray");
  const compared = page.getByRole("region", { name: "Compare with base" });
  await until("figures of both", async () => /^\d+\s+base [1-9]\d*$/.test(await compared.locator('tr:has-text("spring-cloud-a") [data-label="Requests"]').innerText()));
  await compared.getByText(/\d+ requests in \d+ s, as \d+ data planes counted\./).waitFor();
  if (shots) await page.screenshot({ path: `${shots}/compared.png`, fullPage: true });

  await compared.getByRole("link", { name: "spring-cloud-c" }).click();
  await page.getByRole("heading", { level: 1, name: "spring-cloud-c" }).waitFor();
  await until("three lines with figures", async () => {
    const said = await page.locator(".chart .legend li").allInnerTexts();
    return said.length === 3 && said.slice(0, 2).every((it) => Number.parseFloat(it.split("QPS")[1]) > 0);
  });
  await page.getByText("The same as a table").click();
  await page.getByRole("row", { name: /^\d\d:\d\d:\d\d [\d.]+ / }).first().waitFor();
  await page.getByRole("button", { name: "3 hours" }).click();
  await page.waitForURL("**/applications/spring-cloud-c?window=3h");
  // Of that one the last whole minute is told, and what went before.
  await page.getByText(/requests in 10800 s, as \d+ data planes? counted/).waitFor();
  await accessible(page, "application with traffic");
  if (shots) await page.screenshot({ path: `${shots}/qps-data.png`, fullPage: true });
}

describe("a lane", () => {
  it("that is as good as base is not accused; one that got worse is, with its culprit, and is rolled back at one click and back", async () => {
    await sample();
    const page = await open(browser);
    let isJudged = false;
    const traffic = (async () => {
      while (!isJudged) await Promise.all([canary(), chain({}), canary(), chain({})]);
    })();
    let repair;
    try {
      await notAccused(page);
      repair = await faulty();
      await accused(page);
      await rolledBack(page);
    } finally {
      isJudged = true;
      await traffic;
      await repair?.();
    }
    await healthy(page);
    await page.context().close();
  });
});

/** How long a verdict may take: some 900 requests of lane and base each, or the first errors. */
const JUDGED = { timeout: 90_000 };
const verdictOf = (page) => page.getByRole("region", { name: "Verdict" });

async function notAccused(page) {
  await page.goto("/lanes/trade/gray");
  await verdictOf(page).getByRole("heading", { name: "No worse than base" }).waitFor(JUDGED);
  await accessible(page, "no worse");
  // Who wants to roll back does not wait for figures: how the lane stands is in its status.
  await page.route("**/statistics/verdict?*", (route) => route.fulfill({ status: 503, contentType: "application/problem+json", body: JSON.stringify({ title: "no history" }) }));
  await page.reload();
  await verdictOf(page).getByRole("heading", { name: "No worse than base" }).waitFor();
  assert.equal(await verdictOf(page).getByRole("button", { name: "Roll back" }).getAttribute("aria-disabled"), null);
  await page.unroute("**/statistics/verdict?*");
  await page.goto("/lanes/trade");
  await page.getByRole("row", { name: /gray.*header canary == gray.*No worse/ }).last().waitFor();
  await page.getByRole("rowheader", { name: "gray No worse" }).waitFor();
  await accessible(page, "group, no worse");
  const events = (await api("GET", "/events")).filter((it) => it.object?.name === "trade-gray");
  assert.deepEqual(events.filter((it) => it.reason === "Worse"), [], "not for a moment either");
  assert.notEqual(events.filter((it) => it.reason === "NoWorse").length, 0);
}

/** Everywhere a person looks: the lane, its group, all groups, the events. */
async function accused(page) {
  await page.goto("/lanes/trade/gray");
  await verdictOf(page).getByRole("heading", { name: "Worse than base: because of spring-cloud-c" }).waitFor(JUDGED);
  await verdictOf(page).getByText(/^spring-cloud-c: errors [\d.]+ % against 0 %, from \d+ requests, since \d\d:\d\d:\d\d$/).waitFor();
  const compared = page.getByRole("region", { name: "Compare with base" });
  await compared.locator('tr:has-text("spring-cloud-c") [data-label="Verdict"]').getByText("Culprit").waitFor();
  await accessible(page, "worse");
  if (shots) await judgedShots();

  await page.goto("/lanes/trade");
  await page.getByText("gray is worse than base", { exact: true }).waitFor();
  await page.getByRole("gridcell", { name: /^gray, spring-cloud-c: .*, why the lane is worse than base$/ }).waitFor();
  assert.equal(await page.getByRole("gridcell", { name: /why the lane is worse than base/ }).count(), 1, "nobody else is accused");
  await page.getByRole("row", { name: /gray.*header canary == gray.*Worse spring-cloud-c/ }).last().waitFor();
  await accessible(page, "group, worse");
  await page.goto("/lanes");
  await page.getByText("trade/gray is worse than base").waitFor();
  await accessible(page, "groups, worse");

  await page.goto("/events?filter=Lane+trade-gray");
  await accessible(page, "events of a lane");
  await page.getByRole("row", { name: /Worse worse: spring-cloud-c errors/ }).getByRole("link").first().click();
  await page.waitForURL("**/lanes/trade/gray");
}

/** One click away from base, and one back, from the same place. The quickest of three says what it takes: others use the machine, too. */
async function rolledBack(page) {
  const panel = verdictOf(page);
  await panel.getByText("What rolling back writes, and as a command").click();
  await panel.getByText("enabled: false").waitFor();
  await panel.getByRole("button", { name: "Copy: Command" }).click();
  assert.equal(await page.evaluate(() => window.navigator.clipboard.readText()), "laneway lane disable trade/gray");
  const took = [];
  for (let round = 0; round < 3; round += 1) {
    await panel.getByRole("button", { name: "Roll back" }).click();
    const told = await panel.getByText(/^Disabled, live on (\d+) of \1 data planes, \d+ ms$/).innerText();
    took.push(Number(told.match(/(\d+) ms/)[1]));
    assert.match(await canary(), /^A\[/, "acknowledged everywhere is effective everywhere");
    if (round === 0) await accessible(page, "rolled back");
    await panel.getByRole("button", { name: "Undo" }).click();
    await panel.getByText(/^Enabled, live on (\d+) of \1 data planes, \d+ ms$/).waitFor();
    assert.match(await canary(), /^Agray/);
  }
  console.log(`rolled back, acknowledged everywhere after ${took.join(", ")} ms`);
  assert.ok(Math.min(...took) < 1000, `rolled back within ${took.join(", ")} ms`);
}

/** How it looks, for whoever looks. */
async function judgedShots() {
  for (const [theme, language, width] of [["light", "en", 1280], ["dark", "zh", 1280], ["light", "en", 390]]) {
    const page = await open(browser, { theme, language, width });
    for (const [name, url] of [["lane-worse", "/lanes/trade/gray"], ["group-worse", "/lanes/trade"]]) {
      await page.goto(url);
      await page.locator(".verdict.bad, .banner.bad").first().waitFor(JUDGED);
      await page.screenshot({ path: `${shots}/${name}-${theme}-${language}-${width}.png`, fullPage: true });
    }
    await page.context().close();
  }
}

describe("single requests", () => {
  it("come while they are tapped, with every hop, and stand still while one is looked at", async () => {
    await sample();
    const page = await open(browser);
    await page.goto("/lanes/trade/gray");
    await page.getByRole("link", { name: "Tap requests" }).click();
    await page.getByText("Not tapping.").waitFor();
    await page.getByRole("button", { name: "Start" }).click();
    await page.getByText(/\d+ data planes tell\./).waitFor();
    const rows = page.getByRole("button", { name: "GET /a", exact: true });
    await until("a request of the lane", async () => {
      await canary();
      return (await rows.count()) > 0;
    });
    await rows.first().click();
    const hops = page.getByRole("region", { name: "Hops" });
    await hops.getByText("fell back").waitFor();
    await hops.getByText("called by Gateway edge").waitFor();
    await hops.getByText("called by spring-cloud-a gray").waitFor();
    await hops.getByText("called by spring-cloud-b base").waitFor();
    assert.equal(await hops.getByText("in its lane").count(), 2);
    const before = await rows.count();
    await until("another request", async () => {
      await canary();
      return page.getByRole("button", { name: /^Show \d+ new$/ }).isVisible();
    });
    assert.equal(await rows.count(), before);
    await accessible(page, "a request with its hops");
    if (shots) await page.screenshot({ path: `${shots}/tap-hops.png`, fullPage: true });
    await page.getByRole("button", { name: /^Show/ }).click();
    await until("the other requests", async () => (await rows.count()) > before);

    await page.getByLabel("Lane", { exact: true }).selectOption("base");
    await page.getByText("laneway tap trade --base").waitFor();
    await page.getByText("Not tapping.").waitFor();
    await until("an event of who tapped", async () => (await api("GET", "/events")).some((it) => it.reason === "TapEnded"));
    await healthy(page);
    await page.context().close();
  });
});

describe("from nothing", () => {
  it("a group and a lane are created by clicking, seen, disabled, explained", async () => {
    await empty();
    const page = await open(browser);
    await page.goto("/");
    await page.getByText("No lane group yet").waitFor();
    await accessible(page, "nothing there");
    await page.getByRole("link", { name: "Create lane group and lane" }).click();

    await page.getByLabel("Lane group name").fill("Trade");
    await page.getByText("Lower-case letters, digits and dashes, at most 63").waitFor();
    await page.getByLabel("Lane group name").fill("trade");
    await page.getByRole("button", { name: "Next" }).click();
    for (const name of ["spring-cloud-a", "spring-cloud-b", "spring-cloud-c"]) await page.getByLabel(name).check();
    await page.getByRole("button", { name: "Next" }).click();

    await page.getByLabel("Lane tag").fill("grey");
    await page.getByText("0 instances carry the tag").waitFor();
    await page.getByText("No instance carries the tag grey yet").waitFor();
    await page.getByText("laneway sidecar --application spring-cloud-a --service sc-A --tag grey").waitFor();
    await accessible(page, "no match");
    if (shots) await page.screenshot({ path: `${shots}/no-match.png`, fullPage: true });
    await page.getByRole("button", { name: "Use gray" }).click();
    await page.getByText("2 instances carry the tag").waitFor();
    await page.getByRole("button", { name: "Next" }).click();

    await page.getByLabel("Name of the parameter").fill("canary");
    await page.getByLabel("Value", { exact: true }).fill("gray");
    await page.getByText("What this writes, and as a command").click();
    await page.getByText("laneway apply -f - <<'EOF'").waitFor();
    await accessible(page, "last step");
    if (shots) await page.screenshot({ path: `${shots}/last-step.png`, fullPage: true });
    await page.getByRole("button", { name: "Create and enable" }).click();

    await page.waitForURL("**/lanes/trade");
    await page.getByRole("gridcell", { name: "gray, spring-cloud-a: 1 usable instance" }).waitFor();
    await page.getByRole("gridcell", { name: "gray, spring-cloud-b: no usable instance of the lane; served by base" }).waitFor();
    await until("the lane takes requests", async () => (await canary()).startsWith("Agray"));

    await page.getByRole("switch", { name: "Enable gray" }).click({ force: true });
    await page.getByText(/Live on \d of \d data planes, \d+ ms/).waitFor();
    await page.getByText("trade/gray is disabled").waitFor();
    if (shots) await page.screenshot({ path: `${shots}/disabled.png`, fullPage: true });
    await until("the lane takes no request", async () => (await canary()).startsWith("A["));
    await page.getByRole("button", { name: "Undo" }).click();
    await until("the lane takes requests again", async () => (await canary()).startsWith("Agray"));

    await page.getByRole("link", { name: "Explain a request" }).click();
    await page.getByLabel("Paste a curl command").fill("curl -H 'canary: gray' http://127.0.0.1:8000/a");
    await page.getByLabel("Call path").fill("sc-A,sc-B,sc-C");
    await page.getByRole("button", { name: "Explain" }).click();
    await page.getByText("1 of 3 hops fall back: spring-cloud-b.").waitFor();
    await page.getByText("127.0.0.23:15006").first().waitFor();
    await healthy(page);
    await page.context().close();
  });

  it("a whole lane is created by keyboard alone", async () => {
    await sample();
    const page = await open(browser);
    await page.goto("/lanes/trade");
    const press = (...keys) => keys.reduce((before_, key) => before_.then(() => page.keyboard.press(key)), Promise.resolve());
    // Tab until what has focus is named so.
    const reach = async (role, name) => {
      const wanted = page.getByRole(role, { name }).first();
      await wanted.waitFor();
      for (let tabs = 0; tabs < 80; tabs += 1) {
        if (await wanted.evaluate((element) => element === document.activeElement)) return;
        await press("Tab");
      }
      throw new Error(`no way to ${role} ${name} by Tab`);
    };
    await reach("link", "Skip to content");
    await reach("link", "Create lane");
    await press("Enter");
    await reach("textbox", "Lane tag");
    await page.keyboard.type("blue");
    await reach("button", "Next");
    await press("Enter");
    await reach("textbox", "Name of the parameter");
    await page.keyboard.type("x-dev");
    await reach("textbox", "Value");
    await page.keyboard.type("li");
    await reach("button", "Create and enable");
    await press("Enter");
    await page.waitForURL("**/lanes/trade");
    await page.getByRole("gridcell", { name: /^blue, spring-cloud-a/ }).waitFor();
    // The diagram is one stop; arrows move in it, Enter opens the instances, Escape closes and comes back.
    await reach("gridcell", /^gray, spring-cloud-a/);
    await press("ArrowDown", "ArrowDown", "End");
    await page.getByText("base, spring-cloud-c: 1 usable instance").first().waitFor();
    await press("Enter");
    await page.getByRole("dialog").getByText("127.0.0.13:15006").waitFor();
    await accessible(page, "instances");
    await press("Escape");
    await page.getByRole("dialog").waitFor({ state: "detached" });
    assert.match(await page.evaluate(() => document.activeElement?.getAttribute("aria-label") ?? ""), /^base, spring-cloud-c/);
    await healthy(page);
    await page.context().close();
  });
});

describe("a lane that goes on to base", () => {
  it("is paused and resumed, and is base only while it is closed to whoever comes", async () => {
    await sample();
    await until("the lane takes requests", async () => (await canary()).startsWith("Agray"));
    const page = await open(browser);
    await page.goto("/lanes/trade/gray");
    await page.getByText("What pausing writes, and as a command").click();
    await page.getByText("laneway lane pause trade/gray").waitFor();
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText("trade/gray is paused").waitFor();
    await page.getByText(/Live on (\d) of \1 data planes, \d+ ms/).waitFor();
    assert.match(await canary(), /^A\[/, "acknowledged everywhere is effective everywhere");
    await page.getByRole("button", { name: "Undo" }).click();
    await until("the lane takes requests again", async () => (await canary()).startsWith("Agray"));
    await page.getByRole("button", { name: "Pause" }).click();
    await page.getByText("Paused at the entrance").waitFor();
    await accessible(page, "paused");
    if (shots) await page.screenshot({ path: `${shots}/paused.png`, fullPage: true });
    await page.goto("/lanes/trade");
    await page.getByRole("rowheader").getByText("Paused · header canary == gray").waitFor();
    // Who edits the rule does not open the lane by that.
    await page.goto("/lanes/trade/gray?edit=rule");
    await page.getByLabel("Value", { exact: true }).fill("grey");
    await page.getByRole("button", { name: "Save" }).click();
    await page.getByText("trade/gray is saved").waitFor();
    const { spec } = await api("GET", "/namespaces/default/lanes/trade-gray");
    assert.deepEqual([spec.entry.paused, spec.entry.content.conditions[0].value], [true, "grey"]);
    await healthy(page);
    await page.context().close();
  });

  it("is promoted by clicking, from two browsers, abandoned once and then to the end", { timeout: 180_000 }, async () => {
    await sample();
    await until("the lane takes requests", async () => (await canary()).startsWith("Agray"));
    const page = await open(browser);
    const on = async (name) => {
      const button = page.getByRole("button", { name, exact: true });
      await until(`${name} can be pressed`, async () => (await button.getAttribute("aria-disabled")) === null);
      await button.click();
    };
    const vouch = async (name) => page.getByRole("checkbox", { name }).check();
    await page.goto("/lanes/trade/gray");
    await page.getByRole("link", { name: "Promote" }).click();
    await page.waitForURL("**/lanes/trade/gray/promote");
    await page.getByText("Applications with instances in the lane: spring-cloud-a, spring-cloud-c").waitFor();
    await accessible(page, "promote, not begun");
    await on("Begin to promote");
    await page.getByText("Begun by").waitFor();
    await page.getByRole("button", { name: "Abandon" }).click();
    await page.getByText(/abandoned it; nothing of the lane had been changed/).waitFor();
    await on("Begin to promote");

    const { verdict } = (await api("GET", "/namespaces/default/lanes/trade-gray")).status;
    if (verdict?.state !== "noWorse") await vouch(/^I vouch for it/);
    await on("Begin with base");
    // Nothing is deployed here: what is there is vouched for.
    for (const name of [/^I vouch for spring-cloud-a/, /^I vouch for spring-cloud-c/, /^I vouch for it/]) await vouch(name);
    await accessible(page, "promote, base");
    if (shots) await page.screenshot({ path: `${shots}/promote.png`, fullPage: true });
    await page.getByText("laneway lane promote trade/gray --next base --confirm instances/spring-cloud-a --confirm instances/spring-cloud-c --confirm version").waitFor();
    await on("Base has the version");

    // Another browser goes on with it.
    const other = await open(browser, { language: "zh", width: 390, theme: "dark" });
    await other.goto("/lanes/trade/gray/promote");
    const boxes = other.getByRole("checkbox");
    await other.getByText("检查新版本的基线").waitFor();
    await until("what is checked is there", async () => (await other.locator(".checks > li").count()) === 2);
    for (const box of await boxes.all()) await box.check();
    assert.match(await canary(), /^Agray/, "the lane is open until base is new");
    await accessible(other, "promote, in Chinese");
    assert.equal(await other.evaluate(() => document.documentElement.scrollWidth - innerWidth), 0, "scrolls sideways");
    if (shots) await other.screenshot({ path: `${shots}/promote-zh-390.png`, fullPage: true });
    await other.getByRole("button", { name: "关闭入口", exact: true }).click();
    await other.getByText(/已在 (\d+) 个数据面中的 \1 个暂停/).waitFor();
    assert.match(await canary(), /^A\[/, "its entrances are closed");
    await healthy(other);
    await other.context().close();

    await page.getByText("No request in the lane for 30 s").waitFor({ timeout: 60_000 });
    await on("The lane is empty");
    // It was applied as a file is.
    for (const name of [/brings it back/, /The lane goes/]) await vouch(name);
    await on("Delete the lane");
    await page.getByText("promoted it: base runs its version, the lane is deleted; keep 2 that lanes of other groups use").waitFor();
    await page.getByText("spring-cloud-a 127.0.0.21:15006 (rollout/gray)").waitFor();
    await accessible(page, "promoted");
    assert.equal((await api("GET", "/lanes")).items.some((it) => it.metadata.name === "trade-gray"), false);
    await page.goto("/events?filter=Lane+trade-gray");
    await page.getByText("PromotionStarted").first().waitFor();
    await healthy(page);
    await page.context().close();
  });
});

describe("two people", () => {
  it("change one lane at once: what is typed stays, and whoever comes second chooses", async () => {
    await sample();
    const [mine, theirs] = await Promise.all([open(browser), open(browser)]);
    await Promise.all([mine.goto("/lanes/trade/gray?edit=rule"), theirs.goto("/lanes/trade/gray?edit=rule")]);
    await mine.getByLabel("Value", { exact: true }).fill("mine");
    await theirs.getByLabel("Priority").fill("7");
    await theirs.getByRole("button", { name: "Save" }).click();
    await theirs.getByText("trade/gray is saved").waitFor();

    await mine.getByText("Somebody else has changed the lane meanwhile. What you typed is kept.").waitFor();
    assert.equal(await mine.getByLabel("Value", { exact: true }).inputValue(), "mine");
    await mine.getByText("priority: 7").filter({ visible: true }).first().waitFor();
    await accessible(mine, "two versions");
    if (shots) await mine.screenshot({ path: `${shots}/two-versions.png`, fullPage: true });
    await mine.getByRole("button", { name: "Keep mine" }).click();
    await mine.getByRole("button", { name: "Save" }).click();
    await mine.getByText("trade/gray is saved").waitFor();
    await theirs.getByText("header canary == mine").waitFor();
    const { spec } = await api("GET", "/namespaces/default/lanes/trade-gray");
    assert.deepEqual([spec.entry.content.conditions[0].value, spec.priority], ["mine", 7]);
    await Promise.all([healthy(mine), healthy(theirs)]);
    await Promise.all([mine.context().close(), theirs.context().close()]);
  });

  it("see each other's lanes come, change and go without a reload", async () => {
    await sample();
    const page = await open(browser);
    await page.goto("/lanes/trade");
    const lane = (percent) => ({ apiVersion: "laneway.io/v1alpha1", kind: "Lane", metadata: { name: "trade-other" }, spec: { group: "trade", tag: "other", entry: { content: { meet: "all", conditions: [{ header: "x", operator: "==", value: percent }] } } } });
    await page.getByRole("gridcell", { name: /^gray, spring-cloud-a/ }).waitFor();
    await api("POST", "/apply", { objects: [lane("1")] });
    await page.getByText("header x == 1").first().waitFor();
    await api("POST", "/apply", { objects: [lane("2")] });
    await page.getByText("header x == 2").first().waitFor();
    await api("POST", "/delete", { objects: [{ kind: "Lane", namespace: "default", name: "trade-other" }] });
    await page.getByText("header x == 2").first().waitFor({ state: "detached" });
    await page.context().close();
  });
});

describe("a control plane that is away", () => {
  it("is told with the time of the figures; they stay, and all goes on when it is back", async () => {
    const control = await serve();
    try {
      await sample(control.url);
      const page = await open(browser, { url: control.url });
      await page.goto("/lanes/trade/gray?edit=rule");
      await page.getByLabel("Value", { exact: true }).fill("typed before");
      await control.stop("SIGKILL");
      await page.getByText(/The control plane does not answer\. Figures since \d\d:\d\d:\d\d\./).waitFor();
      await accessible(page, "away");
      if (shots) await page.screenshot({ path: `${shots}/away.png`, fullPage: true });
      await page.getByRole("button", { name: "Save" }).click({ force: true });
      assert.equal(await page.getByLabel("Value", { exact: true }).inputValue(), "typed before");
      await control.start();
      await page.getByText(/Figures since/).waitFor({ state: "detached", timeout: 20_000 });
      assert.equal(await page.getByLabel("Value", { exact: true }).inputValue(), "typed before");
      await page.getByRole("button", { name: "Save" }).click();
      await page.getByText("trade/gray is saved").waitFor();
      // The stream goes on: what somebody writes now is seen.
      await api("PATCH", "/namespaces/default/lanes/trade-gray", { spec: { priority: 3 } }, control.url);
      await page.getByText("Priority").locator("xpath=following-sibling::dd[1]").getByText("3").waitFor();
      await healthy(page);
      await page.context().close();
    } finally {
      await clean(control);
    }
  });
});

describe("who asks", () => {
  it("is asked for where he is not known, and shows the token once a tab", async () => {
    // Whoever comes through a proxy is nobody's user, whatever process the connection is.
    const page = await open(browser, { headers: { via: "1.1 somebody" } });
    await page.goto("/lanes");
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    await accessible(page, "sign-in");
    await page.getByRole("button", { name: "Use a token instead" }).click();
    await page.getByLabel("Token").fill("0123456789abcdef0123456789abcdef");
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.getByText("The control plane does not know this token.").waitFor();
    await page.getByLabel("Token").fill(running.token);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
    await page.getByRole("heading", { level: 1, name: "Full-link canary" }).waitFor();
    await page.getByRole("link", { name: "trade", exact: true }).waitFor();
    await page.reload();
    await page.getByRole("link", { name: "trade", exact: true }).waitFor();
    await page.getByRole("button", { name: "Sign out" }).click();
    await page.getByRole("heading", { name: "Sign in" }).waitFor();
    await page.context().close();
  });
});

describe("who may do what", () => {
  const signIn = async (page, user, password) => {
    await page.getByLabel("User").fill(user);
    await page.getByLabel("Password").fill(password);
    await page.getByRole("button", { name: "Sign in", exact: true }).click();
  };
  const choose = async (page, password) => {
    await page.getByLabel("New password").fill(password);
    await page.getByLabel("The same again").fill(password);
    await page.getByRole("button", { name: "Choose a password" }).click();
  };

  it("an admin begins with the one-time password, adds a viewer, and undoes a change; the viewer is refused with the reason", async () => {
    const control = await serve();
    try {
      await sample(control.url);
      await api("PATCH", "/namespaces/default/lanes/trade-gray", { spec: { enabled: false } }, control.url);
      const [, once] = control.output.match(/one-time password (\S+)/);
      // Nobody's user, as whoever comes through a proxy.
      const page = await open(browser, { url: control.url, headers: { via: "1.1 somebody" } });
      await page.goto("/lanes");
      await signIn(page, "admin", "guessed");
      await page.getByText("User or password is wrong.").waitFor();
      await signIn(page, "admin", once);
      await page.getByRole("heading", { name: "Choose a password" }).waitFor();
      await accessible(page, "one-time password");
      await choose(page, "correct horse battery");
      await page.getByText("admin everywhere").waitFor();

      await page.goto("/audit");
      await page.getByRole("button", { name: /Undo change/ }).first().click();
      await page.getByRole("textbox", { name: "Note" }).fill("试试 100%");
      await accessible(page, "undo");
      await page.getByRole("dialog").getByRole("button", { name: "Undo", exact: true }).click();
      await page.getByText("试试 100%").waitFor();
      const { spec } = await api("GET", "/namespaces/default/lanes/trade-gray", undefined, control.url);
      assert.equal(spec.enabled, true);

      await page.goto("/settings/users");
      await page.getByLabel("Name of the user").fill("vic");
      await page.getByRole("button", { name: "Add user" }).click();
      await page.getByText("One-time password of vic").first().waitFor();
      const told = await page.locator(".banner code").innerText();
      if (shots) await page.screenshot({ path: `${shots}/users.png`, fullPage: true });
      await page.getByRole("button", { name: "Sign out" }).click();
      await page.getByRole("heading", { name: "Sign in" }).waitFor();
      await signIn(page, "vic", told);
      await choose(page, "victoria's password");
      await page.getByText("viewer everywhere").waitFor();

      await page.goto("/lanes/trade");
      await page.getByText("It takes operator in default; you are viewer everywhere.").first().waitFor();
      assert.equal(await page.getByRole("switch", { name: "Enable gray" }).isDisabled(), true);
      await accessible(page, "as a viewer");
      if (shots) await page.screenshot({ path: `${shots}/viewer.png`, fullPage: true });
      const refused = await page.evaluate(async () => {
        const init = { method: "DELETE" };
        return (await fetch("/api/v1alpha1/namespaces/default/lanes/trade-gray", init)).status;
      });
      assert.equal(refused, 403, "not only the page refuses");
      await page.goto("/lanes/trade/gray");
      const rollBack = verdictOf(page).getByRole("button", { name: "Roll back", description: "It takes operator in default; you are viewer everywhere." });
      assert.equal(await rollBack.getAttribute("aria-disabled"), "true");
      await rollBack.click({ force: true });
      await accessible(page, "a lane as a viewer");
      if (shots) await page.screenshot({ path: `${shots}/viewer-lane.png`, fullPage: true });
      assert.equal((await api("GET", "/namespaces/default/lanes/trade-gray", undefined, control.url)).spec.enabled, true, "a click that is refused does nothing");
      await page.goto("/settings/users");
      await page.getByText("It takes admin everywhere; you are viewer everywhere.").waitFor();
      await healthy(page);
      await page.context().close();
    } finally {
      await clean(control);
    }
  });
});

describe("what is served", () => {
  it("has its policy, is kept by its name, and leaves the API as it was", async () => {
    const get = (path, headers = {}) => fetch(DEMO + path, { headers });
    const page = await get("/lanes/anything");
    assert.equal(page.status, 200);
    assert.match(page.headers.get("content-security-policy"), /^default-src 'self';/);
    assert.equal(page.headers.get("cache-control"), "no-cache");
    const text = await page.text();
    const [, script] = text.match(/src="(\/assets\/[^"]+\.js)"/);
    const asset = await get(script, { "accept-encoding": "gzip" });
    assert.match(asset.headers.get("cache-control"), /immutable/);
    assert.equal(asset.headers.get("content-encoding"), "gzip");
    assert.equal((await get("/assets/nothing.js")).status, 404);
    assert.equal((await get("/api/v1alpha1/nothing/at/all")).status, 404);
    assert.match((await get("/api/nothing")).headers.get("content-type"), /problem\+json/);
    assert.match((await get("/metrics")).headers.get("content-type"), /^text\/plain|openmetrics/);
    assert.equal((await get("/healthz")).status, 200);
    assert.match((await get("/status", { accept: "application/json" })).headers.get("content-type"), /json/);
    assert.match((await get("/status", { accept: "text/html" })).headers.get("content-type"), /html/);
    assert.equal((await get("/lanes", { origin: "http://evil.example" })).status, 403);
  });
});
