// Chromium, started so that it talks to nobody but the page under test.
// Owns: the launch flags, signing in, and noting every complaint of the browser.
// Must not know any page.

import { mkdirSync } from "node:fs";
import { join } from "node:path";
import { chromium } from "playwright-core";

const FLAGS = ["--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
  "--disable-background-networking", "--disable-component-update", "--disable-sync"];

function needed(name) {
  const value = process.env[name];
  if (!value) throw new Error(`${name} is not set; see the head of dashboard.mjs`);
  return value;
}

export const address = needed("SPILLWAY_DASHBOARD").replace(/\/?(#.*)?$/, "/");
export const token = needed("SPILLWAY_TOKEN");
const shots = process.env.SPILLWAY_SHOTS;

export async function start(colorScheme = "light") {
  const browser = await chromium.launch({ executablePath: "/usr/bin/chromium", args: FLAGS });
  const context = await browser.newContext({ colorScheme, viewport: { width: 1440, height: 960 } });
  const page = await context.newPage();
  const complaints = [];
  const expected = [];
  page.on("console", (message) => {
    if (!["error", "warning"].includes(message.type())) return;
    const text = `${message.text()} (${message.location().url})`;
    if (!expected.some((pattern) => pattern.test(text))) complaints.push(text);
  });
  page.on("pageerror", (error) => complaints.push(String(error.stack ?? error)));
  await context.addInitScript(() => {
    addEventListener("securitypolicyviolation", (event) =>
      console.error(`policy violated: ${event.violatedDirective} by ${event.blockedURI} at ${event.sourceFile}:${event.lineNumber}`));
  });
  page.setDefaultTimeout(15_000);
  return {
    page,
    complaints,
    /** Chromium logs every 4xx by itself; a test that asks for one says so. */
    expect: (pattern) => expected.push(pattern),
    open: (hash) => page.goto(`${address}${hash}`),
    signIn: () => page.goto(`${address}#token=${encodeURIComponent(token)}`),
    async shoot(name) {
      if (!shots) return;
      mkdirSync(shots, { recursive: true });
      await page.screenshot({ path: join(shots, `${name}-${colorScheme}.png`), fullPage: true });
    },
    stop: () => browser.close(),
  };
}
