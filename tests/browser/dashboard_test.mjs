// The dashboard of a serving coordinator, in Chromium.  Started by ./run, which sets the environment.

import assert from "node:assert/strict";
import {execFileSync} from "node:child_process";
import {createRequire} from "node:module";
import {after, before, describe, it} from "node:test";
import {contrast, overflow, shown, structure} from "./page_checks.mjs";

const {BROWSER, MODULES, URL: base, ADMIN, CONFIG, SERVER} = process.env;
const {chromium} = createRequire(MODULES)("playwright-core");
const out = (name) => MODULES + name + ".png";

let browser;
let state;
before(async () => {
  browser = await chromium.launch({executablePath: BROWSER, args: ["--no-sandbox"]});
  state = await (await fetch(base + "/state.json")).json();
});
after(async () => browser?.close());

// A page that complains of console errors and of requests to elsewhere when it is closed.
async function open({width = 1280, height = 900, scheme = "light", route = null} = {}) {
  const context = await browser.newContext({viewport: {width, height}, colorScheme: scheme, reducedMotion: "reduce"});
  const page = await context.newPage();
  const complaints = [];
  page.on("console", (m) => { if (["error", "warning"].includes(m.type())) complaints.push(m.text()); });
  page.on("pageerror", (e) => complaints.push(e.message));
  page.on("request", (r) => { if (new URL(r.url()).origin !== base) complaints.push("asked elsewhere: " + r.url()); });
  if (route) await page.route(...route);
  await page.goto(base + "/");
  await page.waitForSelector("#live[data-state=live]");
  await page.waitForTimeout(300);  // plots are mounted after the page
  return {page, async close() { await context.close(); assert.deepEqual(complaints, []); }};
}

describe("the store", () => {
  it("has seen what is looked at", () => {
    assert.equal(state.recent.filter((r) => r.status === "done").length, 8);
    assert.equal(state.recent.filter((r) => r.status === "aborted").length, 1);
    assert.equal(state.open.length, 1);
    assert.equal(state.open[0].step, "share");
    assert.ok(state.attention.some((a) => a.urgent));
    assert.ok(state.recent.some((r) => r.losses.length > 1));
  });
});

describe("the page", () => {
  it("shows the numbers of state.json", async () => {
    const {page, close} = await open();
    const see = await page.evaluate(shown);
    assert.equal(see.figures["Devices enrolled"], String(state.devices.enrolled));
    assert.equal(see.figures["Rounds open"], "1");
    assert.equal(see.figures["Rounds done"], String(state.rounds.done));
    assert.equal(see.figures["Tasks active"], String(state.tasks.filter((t) => t.state === "active").length));
    assert.deepEqual(see.rounds.map((r) => [r[0], Number(r[2]), Number(r[3])]),
      state.recent.map((r) => [`${r.task}, round ${r.number}`, r.steps[0].arrived, r.survivors]));
    see.rounds.forEach((row, i) => assert.ok(row[1].includes(state.recent[i].status)));
    assert.deepEqual(see.open, state.open.map((r) => `${r.task}, round ${r.number}`));
    assert.deepEqual(see.steps.slice(0, 2), ["Join12/12", "Share keys7/12"]);
    assert.equal(see.attention.length, state.attention.length);
    state.attention.forEach((a, i) => assert.ok(see.attention[i].endsWith(a.text.replace(/\s+/g, " "))));
    for (const task of state.tasks) {
      const gauge = see.gauges.find((g) => g.name === task.name);
      assert.ok(gauge.text.includes(`ε ${task.epsilon_spent.toFixed(3)}`));
      assert.equal(gauge.meter !== null, task.epsilon_budget !== null);
      assert.ok(gauge.text.includes(`${task.done} of ${task.rounds} rounds done`));
    }
    const newest = state.recent.find((r) => r.status === "done");
    assert.deepEqual(see.personas, newest.personas.map((p) => [p.id, p.noisy_count.toFixed(1)]));
    // uPlot is fetched when the program is configured; npm may have been out of reach then, and the page must say so.
    const missing = await page.getByText("Plots were not built in").count();
    assert.equal(see.plots, missing > 0 ? 0 : 2);
    assert.ok(see.releases.some(([name]) => name.includes("newest")));
    await close();
  });

  it("shows of each round where devices were lost, and why", async () => {
    const {page, close} = await open();
    for (const round of state.recent) {
      await page.selectOption("#cohort-round", String(round.id));
      const see = await page.evaluate(shown);
      const counts = Object.fromEntries(see.funnel.map(([name, n]) => [name, n]));
      assert.equal(counts["Joined"], round.steps[0].arrived);
      assert.equal(counts["In the sum"], round.survivors);
      assert.equal(counts["Checked in"], round.checked_in);
      if (round.steps[2].reached) assert.equal(counts["Sent a masked update"], round.steps[2].arrived);
      for (const loss of round.losses) assert.ok(see.reasons.some((r) => r.includes(loss.why.replace(/\s+/g, " "))), loss.why);
      const lost = round.losses.filter((l) => !l.counted).reduce((n, l) => n + l.devices, 0);
      const said = see.funnel.map(([, , text]) => text.match(/(\d+) lost/)).filter(Boolean).reduce((n, m) => n + Number(m[1]), 0);
      assert.equal(said, lost);
    }
    await close();
  });

  for (const [width, scheme] of [[1280, "light"], [1280, "dark"], [390, "light"], [390, "dark"]]) {
    it(`is whole and readable at ${width} px, ${scheme}`, async () => {
      const {page, close} = await open({width, scheme});
      await page.screenshot({path: out(`dashboard-${width}-${scheme}`), fullPage: true});
      for (const details of await page.locator("summary").all()) await details.click();
      assert.deepEqual(await page.evaluate(overflow), []);
      assert.deepEqual(await page.evaluate(structure), []);
      assert.deepEqual(await page.evaluate(contrast), []);
      const [r, g, b] = (await page.evaluate(() => getComputedStyle(document.body).backgroundColor)).match(/\d+/g).map(Number);
      assert.equal(r + g + b < 200, scheme === "dark");
      await close();
    });
  }

  it("can be walked by keyboard, in order, and the place is seen", async () => {
    const {page, close} = await open();
    const walked = [];
    for (let i = 0; i < 80; ++i) {
      await page.keyboard.press("Tab");
      const at = await page.evaluate(() => {
        const node = document.activeElement;
        if (node === document.body) return null;
        const style = getComputedStyle(node);
        const box = node.getBoundingClientRect();
        return {what: node.tagName + (node.id ? "#" + node.id : ""), key: node.dataset.key ?? null, text: (node.textContent || "").slice(0, 30), outline: style.outlineStyle,
          seen: box.width > 0 && box.bottom > 0 && box.top < innerHeight && box.left >= 0};
      });
      if (at === null) break;
      assert.ok(at.seen, `focus is out of sight at ${JSON.stringify(at)}`);
      assert.notEqual(at.outline, "none", JSON.stringify(at));
      walked.push(at);
    }
    assert.equal(walked[0].text, "Skip to the fleet");
    assert.ok(walked.length < 80, "the walk ends");
    for (const what of ["SELECT#cohort-round", "SELECT#catalog-task"]) assert.ok(walked.some((w) => w.what === what), what);
    assert.ok(walked.some((w) => w.key?.startsWith("summary ")));
    assert.ok(walked.some((w) => w.key?.startsWith("table ")));
    // The skip link skips.
    await page.goto(base + "/");
    await page.waitForSelector("#live[data-state=live]");
    await page.keyboard.press("Tab");
    await page.keyboard.press("Enter");
    assert.equal(await page.evaluate(() => document.activeElement.id), "main");
    await close();
  });

  it("keeps focus and place while it is refreshed, and nothing jumps", async () => {
    const {page, close} = await open();
    await page.evaluate(() => {
      window.shifts = 0;
      new PerformanceObserver((list) => { for (const e of list.getEntries()) if (!e.hadRecentInput) window.shifts += e.value; }).observe({type: "layout-shift", buffered: false});
    });
    await page.locator("summary").first().focus();
    await page.keyboard.press("Enter");
    execFileSync(ADMIN, ["device", "enroll", `newcomer-${Date.now()}`, "--out", MODULES + `identity-${Date.now()}`, "--config", CONFIG]);
    const before = state.devices.enrolled;
    await page.waitForFunction((n) => document.querySelector("#figures dd").firstChild.textContent === String(n), before + 1, {timeout: 8000});
    // The task's card is drawn again, too: an operator ends the task that was paused.
    execFileSync(ADMIN, ["task", "end", state.tasks[0].name, "--config", CONFIG]);
    await page.waitForFunction(() => document.querySelector("#task-list .state").textContent === "ended", null, {timeout: 8000});
    assert.ok((await page.evaluate(() => document.activeElement.dataset.key)).startsWith("summary "));
    assert.equal(await page.locator("details").first().getAttribute("open"), "");
    assert.ok(await page.evaluate(() => window.shifts) < 0.02, "layout shifts");
    await close();
  });

  it("has tables without plots, and says so", async () => {
    const {page, close} = await open({route: ["**/uplot.js", (route) => route.fulfill({contentType: "text/javascript", body: ""})]});
    assert.match(await page.textContent("#catalog-plots"), /Plots were not built in/);
    assert.ok((await page.evaluate(shown)).personas.length > 0);
    await close();
  });

  it("tells when the coordinator is gone, and keeps what it knew", async () => {
    const context = await browser.newContext({viewport: {width: 390, height: 844}});
    const page = await context.newPage();
    await page.goto(base + "/");
    await page.waitForSelector("#live[data-state=live]");
    process.kill(Number(SERVER), "SIGTERM");
    await page.waitForSelector("#live[data-state=gone]", {timeout: 15000});
    assert.match(await page.textContent("#live-state"), /does not answer/);
    assert.match(await page.textContent("#announce"), /does not answer/);
    assert.match(await page.title(), /does not answer/);
    assert.ok((await page.evaluate(shown)).rounds.length > 0);
    await page.screenshot({path: out("dashboard-390-gone")});
    await context.close();
  });
});
