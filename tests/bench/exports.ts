import { randomBytes } from 'node:crypto';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { createIdSource } from '../../src/ingest/ids.ts';
import type { LogRecord } from '../../src/records.ts';
import { openStorage } from '../../src/storage/database.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { COMMAND, startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { peakResidentMegabytes, residentMegabytes } from './machine.ts';
import { printHeader } from './report.ts';

/*
 * RAWLOG_TARGET=binary npm run bench:exports -- [--rows 2100] [--row-bytes 1000000]
 *
 * Measures the peak resident memory above idle of each export format, over HTTP and on the command line, and of the
 * largest page of records; also the longest response time of /healthz during it. All rows are events of one user.
 */
const { values } = parseArgs({
  options: { rows: { type: 'string', default: '2100' }, 'row-bytes': { type: 'string', default: '1000000' } },
});
const rowCount = Number(values.rows);
const rowBytes = Number(values['row-bytes']);
const FORMATS = ['ndjson', 'csv', 'parquet'] as const;

using folder = temporaryFolder();
const dataDir = join(folder.path, 'data');
await fill();
printHeader('Exports: peak memory above idle of each export and of the largest page of records', 'none');
console.log(`${rowCount} events of ${rowBytes} bytes each`);
const COLUMNS = [22, 18, 12, 9] as const;
printRow('', 'peak above idle', 'output', 'time', 'longest /healthz');
for (const format of FORMATS) await measureRoute(format, `/api/export/analytics?format=${format}`);
await measureRoute('page of records', '/api/records/analytics?limit=1000');
for (const format of FORMATS) await measureCommand(format);

async function fill(): Promise<void> {
  const storage = openStorage(join(dataDir, 'rawlog.db'));
  const writer = createWriter(storage);
  const nextId = createIdSource(Date.now, 0);
  const text = randomBytes(rowBytes).toString('base64');
  let records: LogRecord[] = [];
  for (let row = 0; row < rowCount; row++) {
    const now = Date.now() * 1000;
    const data = `{"row":${row},"text":"${text.slice(row % (text.length - rowBytes), rowBytes)}"}`;
    const stamp = { ...nextId(), userId: 'user-1', happenedAt: now, receivedAt: now };
    records.push({ kind: 'analytics', ...stamp, type: `type ${row % 5}`, dataIndex: `index ${row % 9}`, data });
    if (records.length * rowBytes < 8_000_000 && row < rowCount - 1) continue;
    await writer.commit({ ...NOTHING, records });
    records = [];
  }
  storage.close();
}

async function measureRoute(name: string, path: string): Promise<void> {
  const target = await startTarget(UNLIMITED, { dataDir });
  const { pid } = target.process;
  const headers = { authorization: `Bearer ${await token()}` };
  await fetch(`${target.url}/api/records/analytics?limit=1`, { headers }).then((response) => response.text());
  await fetch(`${target.url}/api/analytics`, { headers }).then((response) => response.text());
  const idle = residentMegabytes(pid);
  writeFileSync(`/proc/${pid}/clear_refs`, '5'); // resets the peak
  const began = performance.now();
  let bytes = 0;
  let isDone = false;
  let longest = 0;
  const probing = (async () => {
    while (!isDone) {
      const sentAt = performance.now();
      await fetch(`${target.url}/healthz`).then((response) => response.text());
      longest = Math.max(longest, performance.now() - sentAt);
    }
  })();
  const response = await fetch(target.url + path, { headers });
  for await (const part of response.body ?? []) bytes += part.length;
  isDone = true;
  await probing;
  const seconds = (performance.now() - began) / 1000;
  report(`HTTP ${name}`, bytes, seconds, peakResidentMegabytes(pid) - idle, `${longest.toFixed(0)} ms`);
  await target.stop();
}

async function measureCommand(format: string): Promise<void> {
  const command = [...COMMAND, 'export', '--what', 'analytics', '--format', format, '--data-dir', dataDir];
  const idle = await measurePeak([...COMMAND, 'export', '--help']);
  const began = performance.now();
  const { megabytes, bytes } = await measurePeak(command);
  report(`rawlog export ${format}`, bytes, (performance.now() - began) / 1000, megabytes - idle.megabytes, '-');
}

/** Runs a command, reads its output, and returns its peak resident memory. */
async function measurePeak(command: readonly string[]): Promise<{ megabytes: number; bytes: number }> {
  const child = Bun.spawn([...command], {
    env: { JWT_SECRET: UNLIMITED.JWT_SECRET },
    stdout: 'pipe',
    stderr: 'ignore',
  });
  let bytes = 0;
  for await (const part of child.stdout) bytes += part.length;
  await child.exited;
  return { megabytes: (child.resourceUsage()?.maxRSS ?? 0) / 2 ** 20, bytes };
}

function report(name: string, bytes: number, seconds: number, megabytes: number, healthz: string): void {
  printRow(name, `${megabytes.toFixed(0)} MB`, `${(bytes / 1e6).toFixed(0)} MB`, `${seconds.toFixed(1)} s`, healthz);
}

/** Prints a row as soon as it is measured, in columns of fixed width. */
function printRow(...cells: string[]): void {
  console.log(`  ${cells.map((cell, column) => cell.padEnd(COLUMNS[column] ?? 0)).join('')}`);
}
