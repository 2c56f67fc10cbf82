import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const CANDIDATES = [Bun.env['CHROMIUM'], '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const executablePath = CANDIDATES.find((path) => path !== undefined && existsSync(path));

/** Why there is no browser to test with, or undefined when there is one. */
export const noBrowser = executablePath ? undefined : 'no Chromium found; "apt-get install chromium", or set CHROMIUM';
if (noBrowser) console.warn(`SKIPPED: the tests in a browser: ${noBrowser}`);

/** Starts a headless Chromium that asks nothing of the internet by itself. */
export function startBrowser(): Promise<Browser> {
  if (executablePath === undefined) throw new Error(noBrowser);
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
  return chromium.launch({
    executablePath,
    args: [...args, '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}
