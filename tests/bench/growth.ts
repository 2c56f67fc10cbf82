import { parseArgs } from 'node:util';
import { temporaryFolder } from '../harness/target.ts';
import { fillDatabase } from './fill.ts';
import { load } from './load.ts';
import { measurePairs } from './pairs.ts';
import { comparisonRow, printHeader, printTable } from './report.ts';
import { benchToken, startService } from './servers.ts';

/*
 * npm run bench:growth -- [--rows 0,1000000,5000000,20000000] [--pairs 9] [--seconds 3]
 *
 * Measures whether recording slows down as the database grows: the service on a filled database against the service
 * on an empty one, alternately. Needs about 160 bytes per row in the temporary folder. 0 rows compares two empty
 * databases, which shows the noise of the measurement.
 */
const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '0,1000000,5000000,20000000' },
    pairs: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '3' },
  },
});
const options = { connections: 64, seconds: Number(values.seconds), token: await benchToken() };

printHeader('Growth: recording into a filled database against recording into an empty one', 'both');
for (const rows of values.rows.split(',').map(Number)) {
  using folder = temporaryFolder();
  const { rate, megabytes } = fillDatabase(folder.path, rows);
  const filled = await startService(folder.path);
  const empty = await startService();
  try {
    await load(filled, { ...options, seconds: 1 });
    await load(empty, { ...options, seconds: 1 });
    const pairs = await measurePairs(
      Number(values.pairs),
      () => load(filled, options),
      () => load(empty, options),
    );
    const filledIn = rows === 0 ? '' : ` (${megabytes.toFixed(0)} MB, filled at ${rate.toFixed(0)} rows per second)`;
    console.log(
      `POST /log_raw_metric, ${rows} rows${filledIn}: ${options.connections} connections, ${pairs.length} pairs of ${options.seconds} s`,
    );
    printTable([
      ['median (min to max)', 'filled', 'empty', 'filled / empty'],
      comparisonRow('requests per second', pairs, 'rate', 0),
      comparisonRow('p99 latency, ms', pairs, 'p99'),
    ]);
  } finally {
    await filled.target.stop();
    await empty.target.stop();
  }
}
