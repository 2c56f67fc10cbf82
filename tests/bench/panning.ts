import { noBrowser, startBrowser } from '../harness/browser.ts';
import { post } from '../harness/client.ts';
import { signIn } from '../harness/dashboard.ts';
import { startTarget } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { printHeader, printTable } from './report.ts';

/*
 * npm run bench:panning
 *
 * Measures how smoothly a chart of 10,000 points pans: the time between frames in a headless Chromium while the chart is
 * dragged, and while the page is idle.
 */
const POINTS = 9_990;
const MINUTE = 60_000;

if (noBrowser) throw new Error(noBrowser);
const [target, browser] = await Promise.all([startTarget(), startBrowser()]);
const to = Math.floor(Date.now() / MINUTE) * MINUTE;
const authorization = `Bearer ${await token({ sub: 'ada', role: 'admin' })}`;
for (let i = 0; i < POINTS; i += 500) {
  const metrics = Array.from({ length: Math.min(500, POINTS - i) }, (_, j) => ({
    metric_name: 'wave',
    metric_value: 10 + 5 * Math.sin((i + j) / 50) + ((i + j) % 7) / 5,
    data_string: 'all',
    timestamp: new Date(to - (POINTS - i - j) * MINUTE + 1000).toISOString(),
  }));
  const { status, text } = await post(target, '/log_batch', { metrics }, { authorization });
  if (status !== 200) throw new Error(text);
}

const { page, visit } = await signIn(browser, target);
const range = new URLSearchParams({
  from: new Date(to - POINTS * MINUTE).toISOString(),
  to: new Date(to).toISOString(),
});
await visit(`/?view=metric&name=wave&interval=1m&refresh=0&tz=UTC&${range}`);
const box = await page.locator('.plot .u-over').first().boundingBox();
if (!box) throw new Error('the page shows no chart');

/** Returns the times between frames during an action, in milliseconds, sorted. */
async function measureFrames(act: () => Promise<void>): Promise<number[]> {
  await page.evaluate(`(() => {
    window.frames_ = [];
    window.counting_ = true;
    const count = (time) => { window.frames_.push(time); if (window.counting_) requestAnimationFrame(count); };
    requestAnimationFrame(count);
  })()`);
  await act();
  const times = (await page.evaluate('(window.counting_ = false, window.frames_)')) as number[];
  return times
    .slice(1)
    .map((time, i) => time - (times[i] as number))
    .sort((a, b) => a - b);
}

const row = (name: string, gaps: readonly number[]) => {
  const at = (q: number) => (gaps[Math.min(gaps.length - 1, Math.floor(gaps.length * q))] ?? 0).toFixed(1);
  return [name, String(gaps.length), at(0.5), at(0.95), at(1)];
};

const middle = box.y + box.height / 2;
const idle = await measureFrames(() => page.waitForTimeout(2_000));
await page.keyboard.down('Shift');
await page.mouse.move(box.x + box.width * 0.2, middle);
await page.mouse.down();
const dragged = await measureFrames(async () => {
  for (let i = 0; i <= 240; i++)
    await page.mouse.move(box.x + box.width * (0.2 + 0.6 * Math.abs(Math.sin(i / 40))), middle);
});
await page.mouse.up();
await page.keyboard.up('Shift');
printHeader('Panning: time between frames while a chart is dragged, against an idle page', 'none');
console.log(`Chart of ${POINTS} points with one line, ${Math.round(box.width)} px wide; time between frames`);
printTable([['', 'frames', 'median, ms', 'p95, ms', 'max, ms'], row('idle', idle), row('dragged', dragged)]);
await browser.close();
await target.stop();
