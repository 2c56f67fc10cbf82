// Records metrics with the TypeScript client as fast as it can, and prints the seconds that it took and what it used.
// Arguments: the server's URL, a token, the number of metrics.
import { createClient } from '../../client/dist/index.js';

/** Metrics between two waits, so that less than the limit of the client's memory is queued. */
const CHUNK = 100_000;

const [url, token, count] = process.argv.slice(2);
let rejected = 0;
const client = createClient({
  url,
  token,
  storage: 'memory',
  onRejected(items) {
    rejected += items.length;
  },
});
const start = performance.now();
for (let sent = 0; sent < Number(count); sent += CHUNK) {
  const end = Math.min(CHUNK, Number(count) - sent);
  for (let i = 0; i < end; i++) client.metric('page_load_time', 2.5, '/dashboard');
  await client.flush();
}
const seconds = (performance.now() - start) / 1000;
const { maxRSS, userCPUTime, systemCPUTime } = process.resourceUsage();
await client.close();
const cpuSeconds = (userCPUTime + systemCPUTime) / 1e6;
console.log(JSON.stringify({ seconds, peakMegabytes: maxRSS / 1024, cpuSeconds, rejected }));
