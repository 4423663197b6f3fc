// Every page of the dashboard, in Chromium, against a real Spillway.
// Owns: what an operator must be able to see and do. Must not fake the server.
//
// Run: npm ci && SPILLWAY_DASHBOARD=http://127.0.0.1:PORT/ SPILLWAY_TOKEN=… npm test
// SPILLWAY_SHOTS=FOLDER keeps a picture of every page. SPILLWAY_WRITES=1 also publishes a
// policy, rolls it back and starts a training run: only against a throw-away Spillway.
// The server needs: one running proxy, a published policy, and requests in the last 15 minutes,
// at least one of them decided among several candidates.

import assert from "node:assert/strict";
import { after, before, test } from "node:test";
import { address, start, token } from "./browser.mjs";

const writes = process.env.SPILLWAY_WRITES === "1";
let light;

before(async () => {
  light = await start("light");
});
after(async () => {
  await light?.stop();
});

const text = (selector) => light.page.locator(selector).first().innerText();

test("without a token the page asks for one, and refuses a wrong one", async () => {
  const { page } = light;
  light.expect(/401/);
  await light.open("");
  await page.getByLabel("Admin token").fill("certainly-not-the-token");
  await page.getByRole("button", { name: "Sign in" }).click();
  await page.getByRole("alert").filter({ hasText: "refused that token" }).waitFor();
  await light.shoot("sign-in");
});

test("the token in the address signs in and leaves the address", async () => {
  const { page } = light;
  await light.signIn();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
  assert.ok(!page.url().includes(token), "the token is still in the address");
  assert.equal(new URL(page.url()).hash, "#/overview");
  await page.reload();
  await page.getByRole("heading", { name: "Overview" }).waitFor();
});

test("overview: tiles, charts and tables are filled", async () => {
  const { page } = light;
  await light.open("#/overview");
  for (const name of ["requests", "spend", "saved", "quality", "latency", "errors"]) {
    const value = page.locator(`[data-tile="${name}"] .value`);
    await page.waitForFunction((one) => document.querySelector(`[data-tile="${one}"] .value`)?.innerText.trim(), name);
    assert.ok((await value.innerText()).trim(), name);
  }
  for (const name of ["requests", "spend", "latency"]) assert.match(await text(`[data-tile="${name}"] .value`), /\d/, name);
  await page.locator(".chart canvas").first().waitFor();
  assert.equal(await page.locator(".chart canvas").count(), 4);
  for (const caption of ["By model", "By route"]) assert.ok(await page.getByRole("table", { name: caption }).locator("tbody tr").count() > 0, caption);
  for (const window of ["1 h", "24 h", "15 min"]) {
    await page.getByRole("button", { name: window, exact: true }).click();
    assert.equal(await page.getByRole("button", { name: window, exact: true }).getAttribute("aria-pressed"), "true");
    await page.waitForTimeout(400);
  }
  await light.shoot("overview");
});

test("overview: no element jumps while figures are renewed", async () => {
  const { page } = light;
  const places = () => page.evaluate(() => [...document.querySelectorAll(".tile, .chart")].map((one) => {
    const box = one.getBoundingClientRect();
    return [box.x, box.y, box.width, box.height].map(Math.round).join(" ");
  }));
  const early = await places();
  await page.waitForTimeout(5_000);
  assert.deepEqual(await places(), early);
});

test("decisions: filters narrow, a row opens and explains one choice", async () => {
  const { page } = light;
  await light.open("#/decisions");
  const rows = page.getByRole("table", { name: "Latest requests" }).locator("tbody tr");
  await rows.first().waitFor();
  await light.shoot("decisions");
  await page.locator('[data-filter="ending"]').selectOption("answered");
  await page.waitForFunction(() => [...document.querySelectorAll("tbody tr")].every((row) => row.innerText.includes("answered")));
  assert.match(page.url(), /ending=answered/);
  await page.getByRole("switch", { name: "Live" }).uncheck();
  await rows.first().getByRole("link").first().click();
  const candidates = page.getByRole("table", { name: "Candidates" });
  await candidates.locator("tbody tr").first().waitFor();
  assert.ok((await text("[data-explanation]")).length > 20, "no explanation in words");
  assert.equal(await candidates.locator("tbody tr.chosen").count(), 1, "exactly one lane is chosen");
  assert.ok(await page.locator(".timeline .track i").count() >= 1, "no attempt is drawn");
  await light.shoot("decision");
  await page.getByRole("link", { name: "Decisions" }).last().click();
  await rows.first().waitFor();
  assert.match(page.url(), /ending=answered/, "the filter was lost on the way back");
});

test("decisions: an unknown request is explained, not blank", async () => {
  light.expect(/404/);
  await light.open("#/decisions/00000000-0000-7000-8000-000000000000");
  await light.page.getByRole("alert").filter({ hasText: "No such request" }).waitFor();
});

test("policy: a typo is marked at its line, publishing needs validation", async () => {
  const { page } = light;
  light.expect(/422|400/);
  await light.open("#/policy");
  const area = page.getByLabel("Policy, in TOML");
  await area.waitFor();
  const published = await area.inputValue();
  assert.ok(published.trim().length > 0, "the policy is empty");
  const publish = page.locator('[data-act="publish"]');
  const validate = page.locator('[data-act="validate"]');
  assert.ok(await publish.isDisabled());

  const lines = published.replace(/\n*$/, "").split("\n");
  await area.fill(`${lines.join("\n")}\nthis is no policy\n`);
  await validate.click();
  const flaw = page.locator(".flaws button").first();
  await flaw.waitFor();
  assert.equal(Number(await flaw.getAttribute("data-line")), lines.length + 1);
  assert.equal(await page.locator(".numbers .wrong").innerText(), String(lines.length + 1));
  assert.ok(await publish.isDisabled());
  await light.shoot("policy-flaw");

  await area.fill(`${lines.join("\n")}\n# looked at by the browser test\n`);
  assert.ok(await publish.isDisabled(), "publish is enabled before validation");
  await validate.click();
  await page.waitForFunction(() => !document.querySelector('[data-act="publish"]').disabled);
  await area.press("End");
  await area.press("Tab");
  assert.ok(await publish.isDisabled(), "publish stays enabled after an edit");
});

test("policy: a what-if tells cost and quality before and after", async () => {
  const { page } = light;
  await page.locator('[data-act="what-if"]').click();
  await page.locator("[data-what-if]").waitFor({ timeout: 120_000 });
  const told = await text("[data-what-if]");
  for (const word of ["Cost", "Quality", "Coverage", "→", "Would go elsewhere"]) assert.ok(told.includes(word), word);
  await light.shoot("policy-what-if");
});

test("policy: publishing asks first, then reaches a version", { skip: !writes }, async () => {
  const { page } = light;
  await page.locator('[data-act="validate"]').click();
  await page.waitForFunction(() => !document.querySelector('[data-act="publish"]').disabled);
  await page.locator('[data-act="publish"]').click();
  await page.locator("dialog .diff .added").first().waitFor();
  await page.locator('dialog [data-act="confirm"]').click();
  await page.getByRole("status").filter({ hasText: "Published as version" }).waitFor();
});

test("tables & fleet: a running proxy, the current version, a table's inside", async () => {
  const { page } = light;
  await light.open("#/tables");
  const fleet = page.getByRole("table", { name: "Fleet" });
  await fleet.locator("tbody tr").first().waitFor();
  assert.ok(await fleet.locator(".chip.good", { hasText: "running" }).count() >= 1, "no proxy is running");
  const versions = page.getByRole("table", { name: "Versions" });
  await versions.locator(".chip", { hasText: "current" }).waitFor();
  await light.shoot("tables");
  const back = versions.locator("[data-roll-back]").first();
  if (await back.count()) {
    await back.click();
    await page.locator("dialog").waitFor();
    await light.shoot("roll-back");
    if (writes) {
      await page.locator('dialog [data-act="confirm"]').click();
      await page.getByRole("status").filter({ hasText: "Rolled back" }).waitFor();
    } else {
      await page.keyboard.press("Escape");
    }
    await page.locator("dialog").waitFor({ state: "detached" });
  }
  await versions.locator("tbody tr a").first().click();
  for (const name of ["Routes", "Lanes"]) {
    await page.getByRole("table", { name }).locator("tbody tr").first().waitFor();
  }
  await light.shoot("table");
});

test("training: the runs, their report, or what to do", async () => {
  const { page } = light;
  await light.open("#/training");
  const runs = page.getByRole("table", { name: "Training runs" });
  await runs.or(page.getByText("No run yet")).first().waitFor();
  if (await runs.count()) await page.getByText(/The gate|This run has no report/).first().waitFor();
  assert.ok(await page.locator('[data-act="train"]').isVisible());
  if (writes) {
    await page.locator('[data-act="train"]').click();
    await page.getByText(/A training run was started|already under way/).first().waitFor();
  }
  await light.shoot("training");
});

test("the menu is reached by keyboard and says where one is", async () => {
  const { page } = light;
  await light.open("#/overview");
  const link = page.getByRole("link", { name: "Decisions" }).first();
  await link.focus();
  await page.keyboard.press("Enter");
  await page.getByRole("heading", { name: "Decisions" }).waitFor();
  assert.equal(await link.getAttribute("aria-current"), "page");
});

test("every page in the dark, and without a complaint", async () => {
  const dark = await start("dark");
  try {
    await dark.signIn();
    await dark.page.getByRole("heading", { name: "Overview" }).waitFor();
    for (const [hash, name] of [["#/overview", "overview"], ["#/decisions", "decisions"], ["#/policy", "policy"], ["#/tables", "tables"], ["#/training", "training"]]) {
      await dark.open(hash);
      await dark.page.waitForTimeout(1_500);
      assert.equal(await dark.page.getByRole("alert").count(), 0, `${name} shows a failure`);
      await dark.shoot(name);
    }
    assert.deepEqual(dark.complaints, []);
  } finally {
    await dark.stop();
  }
});

test("signing out forgets the token", async () => {
  const { page } = light;
  await page.getByRole("button", { name: "Sign out" }).click();
  await page.getByLabel("Admin token").waitFor();
  assert.ok(!(await page.evaluate(() => Object.values(sessionStorage))).includes(token), "the token is still stored");
  await page.goto(address);
  await page.getByLabel("Admin token").waitFor();
});

test("no policy violation and no console error on any page", () => {
  assert.deepEqual(light.complaints, []);
});
