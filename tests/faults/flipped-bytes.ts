import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { DamagedBackupError } from '../../src/backup/read.ts';
import { verifyBackup } from '../../src/backup/verify.ts';
import { fillDatabase } from '../bench/fill.ts';
import { printTable } from '../bench/report.ts';
import { listTar, succeed } from '../harness/backups.ts';
import { randomNumbers } from '../harness/random.ts';
import { runCli, SECRET, TARGET, temporaryFolder } from '../harness/target.ts';

/*
 * RAWLOG_TARGET=binary npm run faults:flipped-bytes -- [--bytes 1000] [--commands 20] [--rows 10000] [--seed N]
 *
 * Changes single random bytes of a backup, spread evenly over headers, manifest, padding, parts and the end. The
 * verification must find each, and name a range of bytes that contains it. The first ones are verified by the command
 * too, the others in this process by the function that the command calls.
 */

/** A range of bytes of a backup. */
interface Region {
  readonly kind: 'header' | 'manifest' | 'padding' | 'part' | 'end';
  readonly start: number;
  readonly end: number;
}

/** Divides a backup into regions. */
function regionsOf(backup: Uint8Array): Region[] {
  const regions: Region[] = [];
  let end = 0;
  for (const { name, offset, bytes } of listTar(backup)) {
    const contentEnd = offset + bytes;
    end = Math.ceil(contentEnd / 512) * 512;
    regions.push(
      { kind: 'header', start: offset - 512, end: offset },
      { kind: name === 'manifest.json' ? 'manifest' : 'part', start: offset, end: contentEnd },
      { kind: 'padding', start: contentEnd, end },
    );
  }
  return [...regions, { kind: 'end' as const, start: end, end: backup.length }].filter(
    (region) => region.end > region.start,
  );
}

/** Returns whether messages name a range of bytes that contains an offset. */
function namesLocation(text: string, offset: number): boolean {
  const ranges = [...text.matchAll(/\bbytes (\d+) to (\d+)|\bfrom byte (\d+)/g)];
  return ranges.some(([, first, last, from]) => {
    return from === undefined ? Number(first) <= offset && offset <= Number(last) : Number(from) <= offset;
  });
}

async function* chunksOf(bytes: Uint8Array): AsyncGenerator<Uint8Array> {
  yield bytes;
}

/** Verifies a backup as the command does. Returns the problems; undefined if there are none. */
async function problemsIn(backup: Uint8Array, folder: string): Promise<string | undefined> {
  const ignore = () => {};
  const progress = { onBytes: ignore, onManifest: ignore, onRows: ignore };
  try {
    const { verification } = await verifyBackup(chunksOf(backup), folder, progress);
    return verification.problems.length > 0 ? verification.problems.join('\n') : undefined;
  } catch (error) {
    if (error instanceof DamagedBackupError) return error.message;
    throw error;
  }
}

const { values } = parseArgs({
  options: {
    bytes: { type: 'string', default: '1000' },
    commands: { type: 'string', default: '20' },
    rows: { type: 'string', default: '10000' },
    seed: { type: 'string' },
  },
});
const seed = Number(values.seed ?? Math.floor(Math.random() * 1e6));
const random = randomNumbers(seed);
const below = (limit: number) => Math.floor(random() * limit);

using folder = temporaryFolder();
const dataDir = join(folder.path, 'data');
const file = join(folder.path, 'backup.tar');
fillDatabase(dataDir, Number(values.rows));
await succeed(['backup', file], dataDir);
const backup = readFileSync(file);
if ((await problemsIn(backup, folder.path)) !== undefined) throw new Error('the backup itself is damaged');
await succeed(['verify', file], dataDir);

const regions = Object.groupBy(regionsOf(backup), ({ kind }) => kind);
const kinds = Object.keys(regions) as Region['kind'][];
const counts = Object.fromEntries(kinds.map((kind) => [kind, { flipped: 0, found: 0, byCommand: 0 }]));
const missed: string[] = [];
for (let i = 0; i < Number(values.bytes); i++) {
  const kind = kinds[i % kinds.length] as Region['kind'];
  const choices = regions[kind] as Region[];
  const { start, end } = choices[below(choices.length)] as Region;
  const offset = start + below(end - start);
  const mask = 1 + below(255);
  const count = counts[kind] as (typeof counts)[string];
  count.flipped++;
  backup[offset] = (backup[offset] as number) ^ mask;
  const problems = await problemsIn(backup, folder.path);
  const isFound = problems !== undefined && namesLocation(problems, offset);
  if (isFound) count.found++;
  else missed.push(`byte ${offset} (${kind}), xor ${mask}: ${problems ?? 'not found'}`);
  if (i < Number(values.commands)) {
    writeFileSync(file, backup);
    const { exitCode, stdout } = await runCli(['verify', file], { env: { JWT_SECRET: SECRET, DATA_DIR: dataDir } });
    if (exitCode === 1 && namesLocation(stdout, offset)) count.byCommand++;
    else missed.push(`byte ${offset} (${kind}), xor ${mask}, by command: status ${exitCode}, ${stdout}`);
  }
  backup[offset] ^= mask;
}

console.log(`${TARGET}, seed ${seed}: ${values.bytes} changed bytes in a backup of ${backup.length} bytes`);
printTable([
  ['', 'changed', 'found and located', 'also by the command'],
  ...Object.entries(counts).map(([kind, { flipped, found, byCommand }]) => [
    kind,
    String(flipped),
    String(found),
    String(byCommand),
  ]),
]);
for (const line of missed) console.log(`  missed: ${line}`);
process.exitCode = missed.length > 0 ? 1 : 0;
