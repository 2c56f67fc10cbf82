import { parseArgs } from 'node:util';
import { measureBatches } from './recording-batches.ts';
import { measureLatency } from './recording-latency.ts';
import { measureRequests } from './recording-requests.ts';
import { benchToken, startBareRoute, startService } from './servers.ts';

/*
 * bun run bench [--pairs 9] [--seconds 3] [--connections 64,256]
 *
 * The service against the least that could do the same, by turns: the bare route (bare-route.ts) for
 * requests at their peak and at half of it, a bare loop of inserts (bare-inserts.ts) for batches. What
 * counts are the ratios: absolute figures are this machine's.
 */
const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '3' },
    connections: { type: 'string', default: '64,256' },
  },
});
const options = { pairs: Number(values.pairs), seconds: Number(values.seconds), token: await benchToken() };

using bare = await startBareRoute();
const service = await startService();
try {
  for (const connections of values.connections.split(',').map(Number)) {
    await measureRequests(service, bare, { ...options, connections });
  }
  await measureBatches(service, options);
  await measureLatency(service, bare, service.target.dataDir, options);
} finally {
  await service.target.stop();
}
