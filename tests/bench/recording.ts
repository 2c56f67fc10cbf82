import { parseArgs } from 'node:util';
import { measureBatches } from './recording-batches.ts';
import { measureLatency } from './recording-latency.ts';
import { measureRequests } from './recording-requests.ts';
import { printHeader } from './report.ts';
import { benchToken, startBareRoute, startService } from './servers.ts';

/*
 * npm run bench -- [--pairs 9] [--seconds 3] [--connections 64,256]
 *
 * Measures recording against a minimal baseline, alternately in one run: single requests, at peak and at half of
 * it, against the bare route (bare-route.ts); batches against a bare insert loop (bare-inserts.ts). The ratios are
 * the result: absolute numbers depend on the machine.
 */
const { values } = parseArgs({
  options: {
    pairs: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '3' },
    connections: { type: 'string', default: '64,256' },
  },
});
const options = { pairs: Number(values.pairs), seconds: Number(values.seconds), token: await benchToken() };

printHeader(
  'Recording: rawlog against a bare HTTP route (no authentication, no storage) and a bare SQLite insert loop (no HTTP)',
  'both',
);
using bare = await startBareRoute();
const service = await startService();
try {
  for (const connections of values.connections.split(',').map(Number)) {
    await measureRequests(service, bare, service.target.dataDir, { ...options, connections });
  }
  await measureBatches(service, options);
  await measureLatency(service, bare, service.target.dataDir, options);
} finally {
  await service.target.stop();
}
