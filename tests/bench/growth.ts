import { parseArgs } from 'node:util';
import { temporaryFolder } from '../harness/target.ts';
import { spread } from './figures.ts';
import { fillDatabase } from './fill.ts';
import { load } from './load.ts';
import { inPairs } from './pairs.ts';
import { benchToken, startService } from './servers.ts';

/*
 * bun run bench:growth [--rows 0,1000000,5000000,20000000] [--pairs 9] [--seconds 3]
 *
 * Whether a large database takes records in as fast as an empty one: the service on a database of so many
 * metrics, against the service on an empty one, by turns. Takes about 160 bytes a row under the
 * folder of temporary files. 0 rows show how far two equal ones differ.
 */
const { values } = parseArgs({
  options: {
    rows: { type: 'string', default: '0,1000000,5000000,20000000' },
    pairs: { type: 'string', default: '9' },
    seconds: { type: 'string', default: '3' },
  },
});
const options = { connections: 64, seconds: Number(values.seconds), token: await benchToken() };

for (const rows of values.rows.split(',').map(Number)) {
  using folder = temporaryFolder();
  const { rate, megabytes } = fillDatabase(folder.path, rows);
  const filled = await startService(folder.path);
  const empty = await startService();
  try {
    await load(filled, { ...options, seconds: 1 });
    await load(empty, { ...options, seconds: 1 });
    const pairs = await inPairs(
      Number(values.pairs),
      () => load(filled, options),
      () => load(empty, options),
    );
    const ratio = spread(pairs.map(([ours, theirs]) => ours.rate / theirs.rate));
    const p99 = spread(pairs.map(([ours, theirs]) => ours.p99 / theirs.p99));
    console.log(
      `${rows} rows (${megabytes.toFixed(0)} MB, filled at ${rate.toFixed(0)} a second), ${pairs.length} pairs of ${options.seconds} s; filled / empty`,
    );
    console.log(`  requests a second  ${ratio}`);
    console.log(`  p99                ${p99}`);
  } finally {
    await filled.target.stop();
    await empty.target.stop();
  }
}
