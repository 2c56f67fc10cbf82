import { existsSync } from 'node:fs';
import { type Browser, chromium } from 'playwright-core';

const CANDIDATES = [Bun.env['CHROMIUM'], '/usr/bin/chromium', '/usr/bin/chromium-browser', '/usr/bin/google-chrome'];
const executablePath = CANDIDATES.find((path) => path !== undefined && existsSync(path));

/** Why browser tests are skipped; undefined if Chromium was found. */
export const noBrowser = executablePath
  ? undefined
  : 'Chromium not found. Run "apt-get install chromium", or set CHROMIUM to its path.';
if (noBrowser) console.warn(`SKIPPED: browser tests: ${noBrowser}`);

/** Starts a headless Chromium without background network requests. */
export function startBrowser(): Promise<Browser> {
  if (executablePath === undefined) throw new Error(noBrowser);
  const args = ['--no-sandbox', '--disable-gpu', '--disable-quic', '--no-first-run'];
  return chromium.launch({
    executablePath,
    args: [...args, '--disable-background-networking', '--disable-component-update', '--disable-sync'],
  });
}
