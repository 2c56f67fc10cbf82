import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type HttpResponse, METRIC, post, rows, send } from '../harness/client.ts';
import { COMMAND, runCli, startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/*
 * The import command beside a running server.
 */

let folder: ReturnType<typeof temporaryFolder>;
let admin: Record<string, string>;
beforeAll(async () => {
  folder = temporaryFolder();
  admin = { authorization: `Bearer ${await token({ sub: 'root', role: 'admin' })}` };
});
afterAll(() => folder[Symbol.dispose]());

const newPath = () => join(folder.path, crypto.randomUUID());
const start = (dataDir = newPath()) => startTarget(UNLIMITED, { dataDir });
const run = ({ dataDir }: Pick<Target, 'dataDir'>, ...args: string[]) =>
  runCli(args, { env: { JWT_SECRET: UNLIMITED.JWT_SECRET, DATA_DIR: dataDir } });
const socketOf = ({ dataDir }: Target) => join(dataDir, 'control/rawlog.db.sock');

/** Returns the ID of row `n` of 2024. */
function idAt(n: number, millisecond = Date.UTC(2024, 0, 1) + n * 1_000): string {
  const hex = millisecond.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-${n.toString(16).padStart(12, '0')}`;
}

/** Returns exported metrics of 2024 as JSON lines, from the oldest. */
function exported(count: number, user = 'past', first = 0): string {
  return Array.from({ length: count }, (_, i) => {
    const at = new Date(Date.UTC(2024, 0, 1) + (first + i) * 1_000).toISOString();
    const stamp = { id: idAt(first + i), user_id: user, timestamp: at, received_at: at };
    return `${JSON.stringify({ ...stamp, metric_name: 'page_load_time', metric_value: i, data_string: 'x'.repeat(200) })}\n`;
  }).join('');
}

function fileOf(text: string): string {
  const path = newPath();
  writeFileSync(path, text);
  return path;
}

async function record(target: Target, user: string, count: number): Promise<void> {
  const authorization = `Bearer ${await token({ sub: user })}`;
  const metrics = Array.from({ length: Math.min(count, 1_000) }, () => METRIC);
  for (let sent = 0; sent < count; sent += metrics.length) {
    expect((await post(target, '/log_batch', { metrics, analytics: [] }, { authorization })).status).toBe(200);
  }
}

async function countIn(target: Target, user?: string): Promise<number> {
  const query = user === undefined ? '' : `&user_id=${user}`;
  const { body } = await send(`${target.url}/api/metrics/series?name=page_load_time${query}`, { headers: admin });
  return body.count;
}

const status = async (target: Target) => (await send(`${target.url}/api/status`, { headers: admin })).body;

/** Waits for a value of the status. */
async function eventually(target: Target, isReached: (status: HttpResponse['body']) => boolean): Promise<void> {
  while (!isReached(await status(target))) {
    // asks again
  }
}

test('imports older records while the server records, in order and between existing rows', async () => {
  const target = await start();
  await record(target, 'now', 2_000);
  let isImporting = true;
  const recording = (async () => {
    let recorded = 0;
    do {
      await record(target, 'now', 100);
      recorded += 100;
    } while (isImporting);
    return recorded;
  })();
  const file = fileOf(exported(5_000));
  const { exitCode, stdout, stderr } = await run(target, 'import', file);
  isImporting = false;
  const recorded = 2_000 + (await recording);
  expect({ exitCode, stdout, stderr }).toEqual({
    exitCode: 0,
    stdout: 'Imported 5000 records; 0 already stored.\n',
    stderr: '',
  });
  expect([await countIn(target, 'past'), await countIn(target)]).toEqual([5_000, 5_000 + recorded]);
  expect((await status(target)).ledger).toMatchObject({ stored: 5_000 + recorded });
  expect(rows(target, 'metrics', idAt(4_999))).toHaveLength(1);
  expect(await run(target, 'verify')).toMatchObject({ exitCode: 0 });
  expect(await run(target, 'import', file)).toMatchObject({
    exitCode: 0,
    stdout: 'Imported 0 records; 5000 already stored.\n',
  });
  const more = await runCli(['import', '-'], {
    env: { DATA_DIR: target.dataDir },
    stdin: exported(1_000, 'past', 4_500),
  });
  expect(more.stdout).toBe('Imported 500 records; 0 already stored.\n'); // the others differ in their value
  expect(more).toMatchObject({ exitCode: 1, stderr: expect.stringContaining('500 records not stored: different') });
  expect(await target.stop()).toBe(0);
  expect(await run(target, 'verify')).toMatchObject({ exitCode: 0 });
});

test('skips erased users', async () => {
  const target = await start();
  await record(target, 'past', 1);
  await run(target, 'erase', 'past');
  const { stdout } = await run(target, 'import', fileOf(exported(10) + exported(10, 'other', 100)));
  expect(stdout).toBe('Imported 10 records; 0 already stored; skipped 10 of erased users.\n');
  expect(await countIn(target)).toBe(10);
  await target.stop();
});

test('an erasure after an import is pending until the next start has compacted the file', async () => {
  const target = await start();
  await record(target, 'now', 5_000);
  await run(target, 'import', fileOf(exported(5_000) + exported(5_000, 'imported-user', 5_000)));
  await run(target, 'import', fileOf(exported(5_000, 'between', 20_000)));
  expect(await run(target, 'erase', 'imported-user')).toMatchObject({ stdout: 'Erased 5000 metrics and 0 events.\n' });
  expect(await countIn(target, 'imported-user')).toBe(0);
  await eventually(target, ({ erasures: { pending } }) => pending === 1);
  await target.stop();
  const again = await start(target.dataDir);
  expect(again.logLines()).toContainEqual(
    expect.objectContaining({ level: 'warn', msg: expect.stringContaining('compacting the database') }),
  );
  await eventually(again, ({ erasures: { pending } }) => pending === 0);
  for (const ending of ['', '-wal']) {
    expect(readFileSync(again.databasePath + ending).includes('imported-user')).toBe(false);
  }
  expect(await run(again, 'verify')).toMatchObject({ exitCode: 0 });
  await again.stop();
  const third = await start(target.dataDir);
  expect(third.logLines().filter(({ level }) => level === 'warn')).toEqual([]);
  await third.stop();
});

test('an erasure during an import finds the imported rows', async () => {
  const target = await start();
  await record(target, 'now', 100);
  expect(await countIn(target)).toBe(100); // the column store is past the rows that are imported
  const socket = { method: 'POST', unix: socketOf(target) };
  const session = await fetch('http://rawlog/v1/import?argument={}', socket);
  const reader = (session.body as ReadableStream<Uint8Array>).getReader();
  let lines = '';
  while (!lines.includes('progress')) lines += new TextDecoder().decode((await reader.read()).value);
  const batch = (body: string) => fetch('http://rawlog/v1/import-batch?argument={}', { ...socket, body });
  expect(await (await batch(exported(100))).text()).toContain('"result":["stored"');
  expect(await run(target, 'erase', 'past')).toMatchObject({ stdout: 'Erased 100 metrics and 0 events.\n' });
  expect(await (await batch(exported(100))).text()).toContain('"result":["erased"');
  expect(await (await batch(exported(50, 'other', 500))).text()).toContain('"result":["stored"');

  // only one import at a time, whose lines are checked again
  expect(await run(target, 'import', fileOf(exported(1)))).toMatchObject({
    exitCode: 1,
    stderr: 'Another import is running. Retry when it has ended.\n',
  });
  expect(await (await batch('{}')).text()).toContain('a line is not an exported record');
  await reader.cancel(); // as if the command had been killed
  await target.logged(({ msg, command }) => msg === 'command finished' && command === 'import');
  expect(await (await batch(exported(1))).text()).toContain('No import is running');
  expect(await countIn(target)).toBe(150);
  expect(await run(target, 'verify')).toMatchObject({ exitCode: 0 });
  await target.stop();
});

test('records that are newer than the IDs of the server are rejected', async () => {
  const target = await start();
  await record(target, 'now', 1);
  const soon = Date.now() + 120_000;
  const at = new Date(soon).toISOString();
  const line = { ...JSON.parse(exported(1)), id: idAt(1, soon), timestamp: at, received_at: at };
  const { exitCode, stderr } = await run(target, 'import', fileOf(`${JSON.stringify(line)}\n`));
  expect({ exitCode, stderr }).toEqual({
    exitCode: 1,
    stderr: expect.stringContaining('newer than the newest ID of the server'),
  });
  expect(rows(target, 'metrics')).toHaveLength(1);
  await target.stop();
});

describe('a process that ends early', () => {
  const LINES = 60_000;
  let file: string;
  beforeAll(() => {
    file = fileOf(exported(LINES));
  });

  test.each(['SIGINT', 'SIGKILL'] as const)('the server finishes an import whose command got %s', async (signal) => {
    const target = await start();
    await record(target, 'now', 100);
    const child = Bun.spawn([...COMMAND, 'import', file], { env: { DATA_DIR: target.dataDir }, stderr: 'pipe' });
    await eventually(target, ({ ledger: { stored } }) => stored > 100);
    child.kill(signal);
    await child.exited;
    expect(child.signalCode).toBe(signal);
    await target.logged(({ msg, command }) => msg === 'command finished' && command === 'import');
    const { stored } = (await status(target)).ledger;
    expect(stored).toBeLessThan(100 + LINES);
    expect(await countIn(target)).toBe(stored);
    expect(await run(target, 'verify')).toMatchObject({ exitCode: 0 });
    expect(await run(target, 'import', file)).toMatchObject({ exitCode: 0 });
    expect(await countIn(target)).toBe(100 + LINES);
    await target.stop();
  });

  test.each(['SIGTERM', 'SIGKILL'] as const)(
    'an import whose server got %s is finished at the next start',
    async (signal) => {
      const target = await start();
      await record(target, 'now', 100);
      const result = run(target, 'import', file);
      await eventually(target, ({ ledger: { stored } }) => stored > 100);
      await target.stop(signal);
      expect(await result).toMatchObject({ exitCode: 1, stdout: '' });
      const again = await start(target.dataDir);
      const { stored } = (await status(again)).ledger;
      await eventually(again, ({ columns: { lag_rows } }) => lag_rows === 0);
      while ((await countIn(again)) !== stored) {
        // until the rebuild has applied all rows
      }
      expect(await run(again, 'verify')).toMatchObject({ exitCode: 0 });
      expect(await run(again, 'import', file)).toMatchObject({ exitCode: 0 });
      expect(await countIn(again)).toBe(100 + LINES);
      await again.stop();
    },
  );
});

test('an export resumes after a record of another node that has the time part of one from here', async () => {
  await using stack = new AsyncDisposableStack();
  const target = await start();
  stack.defer(async () => void (await target.stop()));
  await record(target, 'ada', 1);
  const lines = exported(4).trimEnd().split('\n');
  const others = lines.map((line, i) => line.replace(idAt(i), idAt(i).replace(/.$/, 'f')));
  const result = await run(target, 'import', fileOf([...lines, ...others, ''].join('\n')));
  expect(result).toMatchObject({ exitCode: 0, stdout: 'Imported 8 records; 0 already stored.\n' });
  const read = async (after?: string): Promise<string[]> => {
    const query = after === undefined ? '' : `?after=${after}`;
    const { text } = await send(`${target.url}/api/export/metrics${query}`, { headers: admin });
    return text
      .split('\n')
      .filter((line) => line !== '')
      .map((line) => JSON.parse(line).id);
  };
  const all = await read();
  expect(new Set(all).size).toBe(9);
  for (const [i, id] of all.entries()) expect(await read(id)).toEqual(all.slice(i + 1));
});
