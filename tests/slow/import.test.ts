import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { deleteRecords, finishDeletions } from '../../src/storage/deletion.ts';
import { runJob } from '../../src/storage/job.ts';
import { openReader } from '../../src/storage/reader.ts';
import { rows } from '../harness/client.ts';
import { COMMAND, runCli, SECRET, temporaryFolder } from '../harness/target.ts';

/*
 * The import command: validation, sources of input, and conflicts with stored records.
 */

const ID = '01a2051d-f34e-7000-963e-4dd273eea3b1';
const RECORD = {
  id: ID,
  user_id: 'ada',
  timestamp: '2026-01-01T00:00:00.000001Z',
  received_at: '2026-01-01T00:00:00Z',
  metric_name: 'm',
  metric_value: 1.5,
  data_string: 'a',
};
const { metric_name: _, metric_value: __, data_string: ___, ...STAMP } = RECORD;
const EVENT = { ...STAMP, type: 't', data_index: 'i', data: { a: 1 } };

let folder: ReturnType<typeof temporaryFolder>;
beforeAll(() => {
  folder = temporaryFolder();
});
afterAll(() => folder[Symbol.dispose]());

/** Returns settings with a data folder that does not exist yet. */
function newEnv(): { JWT_SECRET: string; DATA_DIR: string } {
  return { JWT_SECRET: SECRET, DATA_DIR: join(folder.path, crypto.randomUUID(), 'data') };
}

/** Writes records to a new file, one per line. */
function fileOf(...records: (object | string)[]): string {
  const path = join(folder.path, `${crypto.randomUUID()}.ndjson`);
  writeFileSync(path, textOf(...records));
  return path;
}

function textOf(...records: (object | string)[]): string {
  return records.map((record) => `${typeof record === 'string' ? record : JSON.stringify(record)}\n`).join('');
}

/** Returns the first ID of a millisecond. */
function idAt(millisecond: number): string {
  const hex = millisecond.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}-7000-8000-000000000000`;
}

/** Returns record number `n`, received in minute `n` of 2024. */
function numbered(n: number): typeof RECORD {
  return { ...RECORD, id: idAt(Date.UTC(2024, 0, 1) + n * 60_000), data_string: `n${n}` };
}

const stored = (env: { DATA_DIR: string }) => {
  const databasePath = join(env.DATA_DIR, 'rawlog.db');
  return [...rows({ databasePath }, 'metrics'), ...rows({ databasePath }, 'analytics')];
};

describe('an import rejects the whole file if a line', () => {
  const inHours = (hours: number) => new Date(Date.now() + hours * 3_600_000).toISOString();
  test.each([
    ['is not JSON', 'not json', 'it is not JSON'],
    ['is an array', '[]', 'its id is not a UUIDv7'],
    ['is null', 'null', 'it is not an object'],
    ['is nested too deeply', `{"a":${'['.repeat(300)}${']'.repeat(300)}}`, 'it is nested too deeply'],
    ['has no ID', { ...RECORD, id: 1 }, 'its id is not a UUIDv7'],
    ['has an ID of another version', { ...RECORD, id: ID.replace('-7', '-4') }, 'its id is not a UUIDv7'],
    [
      'has the last of all IDs',
      { ...RECORD, id: 'ffffffff-ffff-7fff-bfff-ffffffffffff' },
      'the time in its id is in the future',
    ],
    [
      'has an ID from an hour in the future',
      { ...RECORD, id: idAt(Date.now() + 3_600_000) },
      'the time in its id is in the future',
    ],
    [
      'has an ID from 1970',
      { ...RECORD, id: '00000000-0000-7000-8000-000000000000' },
      'the time in its id is before 2020',
    ],
    [
      'has an ID from 2019',
      { ...RECORD, id: '016f5e66-e7ff-7fff-8000-000000000000' },
      'the time in its id is before 2020',
    ],
    ['has no user', { ...RECORD, user_id: '' }, 'its user_id is not a valid user ID'],
    ['has no timestamp', { ...RECORD, timestamp: 'x' }, 'its timestamp is not an RFC 3339 time'],
    ['has no time of receipt', { ...RECORD, received_at: 5 }, 'its received_at is not an RFC 3339 time'],
    ['happened in year 0', { ...RECORD, timestamp: '0000-01-01T00:00:00Z' }, 'its timestamp is before the year 1700'],
    ['happened in 1699', { ...RECORD, timestamp: '1699-12-31T23:59:59Z' }, 'its timestamp is before the year 1700'],
    ['happened in 9999', { ...RECORD, timestamp: '9999-12-31T23:59:59Z' }, 'its timestamp is in the future'],
    ['happens in an hour', { ...RECORD, timestamp: inHours(1) }, 'its timestamp is in the future'],
    [
      'was received in year 0',
      { ...RECORD, received_at: '0000-01-01T00:00:00Z' },
      'its received_at is before the year',
    ],
    ['was received in 9999', { ...RECORD, received_at: '9999-12-31T23:59:59Z' }, 'its received_at is in the future'],
    ['has no name', { ...RECORD, metric_name: '' }, 'its fields match neither a metric nor an event'],
    [
      'has a text with a lone surrogate',
      JSON.stringify(RECORD).replace('"a"', '"\\ud800"'),
      'its fields match neither',
    ],
  ])('%s', async (_title, line, reason) => {
    const env = newEnv();
    const { exitCode, stdout, stderr } = await runCli(['import', fileOf(RECORD, line)], { env });
    expect({ exitCode, stdout }).toEqual({ exitCode: 1, stdout: '' });
    expect(stderr).toContain(`Line 2 is not an exported record: ${reason}`);
    expect(existsSync(env.DATA_DIR)).toBe(false);
  });

  test('is not UTF-8', async () => {
    const path = fileOf(RECORD);
    writeFileSync(path, Buffer.from([0x7b, 0xff, 0x7d, 0x0a]));
    const { exitCode, stderr } = await runCli(['import', path], { env: newEnv() });
    expect({ exitCode, stderr }).toEqual({
      exitCode: 1,
      stderr: expect.stringContaining('Line 1 is not an exported record: it is not UTF-8'),
    });
  });

  test('is longer than 16 MB', async () => {
    const long = { ...EVENT, data: { filler: 'x'.repeat(17_000_000) } };
    const { exitCode, stderr } = await runCli(['import', fileOf(RECORD, long, 'wrong')], { env: newEnv() });
    expect(exitCode).toBe(1);
    expect(stderr).toContain('Line 2 is not an exported record: it is longer than 16777216 bytes');
    expect(stderr).toContain('Line 3 is not an exported record: it is not JSON');
  });
});

test('an import lists the first 20 invalid lines and counts all of them', async () => {
  const lines = Array.from({ length: 50 }, (_, i) => (i % 2 === 0 ? numbered(i) : 'wrong'));
  const { exitCode, stderr } = await runCli(['import', fileOf(...lines)], { env: newEnv() });
  expect(exitCode).toBe(1);
  expect([...(stderr.match(/^Line \d+ is/gm) ?? [])]).toEqual(
    Array.from({ length: 20 }, (_, i) => `Line ${2 * i + 2} is`),
  );
  expect(stderr).toContain('Lines with errors: 25.');
});

test('MAX_CLOCK_SKEW limits how far a time may be in the future', async () => {
  const ahead = { ...RECORD, timestamp: new Date(Date.now() + 30 * 60_000).toISOString() };
  const env = newEnv();
  expect((await runCli(['import', fileOf(ahead)], { env })).exitCode).toBe(1);
  expect((await runCli(['import', fileOf(ahead), '--max-clock-skew', '1h'], { env })).exitCode).toBe(0);
});

describe('a record that is already stored', () => {
  test.each([
    ['user_id', { ...RECORD, user_id: 'bob' }],
    ['timestamp', { ...RECORD, timestamp: '2026-01-01T00:00:00.000002Z' }],
    ['received_at', { ...RECORD, received_at: '2026-01-01T00:00:01Z' }],
    ['metric_name', { ...RECORD, metric_name: 'n' }],
    ['metric_value', { ...RECORD, metric_value: 1.5000000000000002 }],
    ['data_string', { ...RECORD, data_string: 'b' }],
    ['all fields: an event', EVENT],
  ])('causes a conflict if the ID is imported with a different %s', async (_title, other) => {
    const env = newEnv();
    expect((await runCli(['import', fileOf(RECORD)], { env })).exitCode).toBe(0);
    const before = stored(env);
    const result = await runCli(['import', fileOf(numbered(1), other, RECORD, other)], { env });
    expect(result).toEqual({
      exitCode: 1,
      stdout: 'Imported 1 record; 1 already stored.\n',
      stderr: '2 records not stored: different records with the same IDs exist. Lines 2, 4.\n',
    });
    expect(stored(env)).toEqual(expect.arrayContaining(before));
    expect(stored(env)).toHaveLength(2);
  });

  test.each([
    ['type', { ...EVENT, type: 'u' }],
    ['data_index', { ...EVENT, data_index: 'j' }],
    ['data', { ...EVENT, data: { a: 2 } }],
  ])('causes a conflict if the event is imported with a different %s', async (_title, other) => {
    const env = newEnv();
    const result = await runCli(['import', fileOf(EVENT, other, EVENT)], { env });
    expect(result).toMatchObject({ exitCode: 1, stdout: 'Imported 1 record; 1 already stored.\n' });
    expect(result.stderr).toContain('Line 2.');
  });
});

/** Returns an ID with the same time part as `ID`. */
const sameTime = (n: number) => ID.replace(/[0-9a-f]{12}$/, n.toString(16).padStart(12, '0'));

test('records of several nodes whose IDs have the same time part are all stored once, with their IDs', async () => {
  const env = newEnv();
  const ofOthers = [
    { ...RECORD, id: sameTime(1), user_id: 'bob' },
    { ...EVENT, id: sameTime(2), user_id: 'bob' },
    { ...EVENT, id: sameTime(3), user_id: 'eve' },
  ];
  const files = [fileOf(RECORD), fileOf(...ofOthers)];
  const run = (...args: string[]) => runCli(args, { env });
  expect(await run('import', files[0] ?? '')).toMatchObject({ exitCode: 0 });
  const imported = await run('import', files[1] ?? '');
  expect(imported).toEqual({ exitCode: 0, stdout: 'Imported 3 records; 0 already stored.\n', stderr: '' });
  const ids = () =>
    stored(env)
      .filter((row) => row['user_id'] !== '')
      .map((row) => row['id'])
      .sort();
  const all = [ID, ...ofOthers.map(({ id }) => id)].sort();
  expect(ids()).toEqual(all);
  const exported = (await run('export')).stdout.trimEnd().split('\n');
  expect(exported.map((line) => JSON.parse(line).id).sort()).toEqual(all);
  expect(exported.some((line) => line.includes('source_id'))).toBe(false);
  expect(await run('verify')).toMatchObject({ exitCode: 0 });

  // again, and in another order
  const again = await run('import', fileOf(...ofOthers.toReversed(), RECORD));
  expect(again).toEqual({ exitCode: 0, stdout: 'Imported 0 records; 4 already stored.\n', stderr: '' });
  const changed = await run('import', fileOf({ ...ofOthers[0], metric_value: 2 }, { ...EVENT, id: sameTime(1) }));
  expect(changed).toMatchObject({ exitCode: 1, stdout: 'Imported 0 records; 0 already stored.\n' });
  expect(changed.stderr).toContain('Lines 1, 2.');
  expect(ids()).toEqual(all);

  // a key that is free again does not let the others be stored twice
  expect(await run('erase', 'ada')).toMatchObject({ exitCode: 0 });
  const afterErasure = await run('import', fileOf(RECORD, ...ofOthers));
  const skipped = 'Imported 0 records; 3 already stored; skipped 1 of erased users.\n';
  expect(afterErasure).toEqual({ exitCode: 0, stdout: skipped, stderr: '' });
  expect(await run('erase', 'bob')).toMatchObject({ exitCode: 0 });
  expect(ids()).toEqual([sameTime(3)]);
  expect(await run('verify')).toMatchObject({ exitCode: 0 });
  const text = readFileSync(join(env.DATA_DIR, 'rawlog.db'), 'latin1');
  expect(text).not.toContain(sameTime(1));
  expect(text).not.toContain(sameTime(2));

  // in another database, in which no other record has the key, they keep it
  const copy = newEnv();
  const export2 = fileOf((await run('export')).stdout.trimEnd());
  expect(await runCli(['import', export2], { env: copy })).toMatchObject({ exitCode: 0 });
  expect(stored(copy).map((row) => row['id'])).toEqual([sameTime(3)]);
});

test('an import skips and counts records of an erased user', async () => {
  const env = newEnv();
  const file = fileOf(RECORD, { ...numbered(1), user_id: 'bob' });
  expect((await runCli(['import', file], { env })).exitCode).toBe(0);
  expect((await runCli(['erase', 'ada'], { env })).exitCode).toBe(0);
  const later = { ...RECORD, id: idAt(Date.now()), data_string: 'later' };
  expect(await runCli(['import', fileOf(RECORD, numbered(1), later)], { env })).toEqual({
    exitCode: 0,
    stdout: 'Imported 1 record; 0 already stored; skipped 2 of erased users.\n',
    stderr: '',
  });
  // only the key of an erased row remains, and another record may use it
  expect(await runCli(['import', fileOf({ ...RECORD, user_id: 'carl', data_string: 'other' })], { env })).toMatchObject(
    {
      exitCode: 0,
      stdout: 'Imported 1 record; 0 already stored.\n',
    },
  );
  expect((await runCli(['verify'], { env })).exitCode).toBe(0);
  expect(stored(env).map((row) => row['data_string'])).toEqual(['n1', 'other', 'later']);
});

describe('an import reads', () => {
  const records = Array.from({ length: 2_500 }, (_, i) => numbered(i));
  const IMPORTED = { exitCode: 0, stdout: 'Imported 2500 records; 0 already stored.\n', stderr: '' };

  test('standard input, named -', async () => {
    const env = newEnv();
    expect(await runCli(['import', '-'], { env, stdin: textOf(...records) })).toEqual(IMPORTED);
    expect(stored(env)).toHaveLength(records.length);
    expect(readdirSync(env.DATA_DIR).filter((name) => name.endsWith('.tmp'))).toEqual([]);
  });

  test('standard input, and stores nothing if a line is invalid', async () => {
    const env = newEnv();
    const result = await runCli(['import', '-'], { env, stdin: `${textOf(...records)}wrong` });
    expect(result).toMatchObject({ exitCode: 1, stdout: '', stderr: expect.stringContaining('Line 2501 is not') });
    expect(readdirSync(env.DATA_DIR)).toEqual([]);
  });

  test.each([
    ['/dev/stdin, a pipe', 'cat "$FILE" | "$@" /dev/stdin'],
    ['/dev/stdin, a file', '"$@" /dev/stdin < "$FILE"'],
    ['the remainder of a file on standard input', '{ read -r first; "$@" -; } < "$LONGER"'],
    ['a FIFO', 'mkfifo "$FILE.fifo"; cat "$FILE" > "$FILE.fifo" & "$@" "$FILE.fifo"'],
  ])('%s', async (_title, script) => {
    const env = newEnv();
    const files = { FILE: fileOf(...records), LONGER: fileOf('first', ...records), PATH: Bun.env['PATH'] ?? '' };
    const child = Bun.spawn(['bash', '-c', script, 'bash', ...COMMAND, 'import'], {
      env: { ...env, ...files },
      stdout: 'pipe',
      stderr: 'pipe',
    });
    const [stdout, stderr] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
    expect({ exitCode: await child.exited, stdout, stderr }).toEqual(IMPORTED);
    expect(stored(env)).toHaveLength(records.length);
  });

  test('text with U+2028, U+2029 and U+0085, and lines that end with CR LF', async () => {
    const env = newEnv();
    const text = { ...RECORD, data_string: 'a\u2028b\u2029c\u0085d' };
    const path = fileOf();
    writeFileSync(path, `\ufeff${JSON.stringify(text)}\r\n\r\n  \n${JSON.stringify(numbered(1))}`);
    expect(await runCli(['import', path], { env })).toMatchObject({ exitCode: 0, stderr: '' });
    expect(stored(env).map((row) => row['data_string'])).toEqual(['n1', text.data_string]);
  });

  test('lines of several megabytes, across the chunks in which a file is read', async () => {
    const env = newEnv();
    const long = [3, 1, 15, 2].map((megabytes, i) => {
      const { id } = numbered(i);
      return { ...EVENT, id, data: { filler: String(i).repeat(megabytes * 1_000_000) } };
    });
    expect(await runCli(['import', fileOf(...long)], { env })).toMatchObject({ exitCode: 0 });
    expect(stored(env).map((row) => String(row['data']).length)).toEqual([3, 1, 15, 2].map((n) => n * 1_000_000 + 13));
  });

  test('an empty file', async () => {
    expect(await runCli(['import', fileOf()], { env: newEnv() })).toMatchObject({ exitCode: 0 });
  });

  test.each([
    ['folder', (dir: string) => dir, 'is a folder'],
    ['missing file', (dir: string) => join(dir, 'none'), 'no such file'],
  ])('no %s', async (_title, make, words) => {
    const dir = join(folder.path, crypto.randomUUID());
    mkdirSync(dir);
    const { exitCode, stderr } = await runCli(['import', make(dir)], { env: newEnv() });
    expect({ exitCode, stderr }).toEqual({ exitCode: 1, stderr: expect.stringContaining(words) });
  });
});

test('an import finishes an interrupted deletion first, so that imported records are not deleted', async () => {
  const env = newEnv();
  const restored = fileOf(numbered(0), numbered(1), numbered(2));
  expect(await runCli(['import', restored], { env })).toMatchObject({ exitCode: 0 });
  const reader = openReader(join(env.DATA_DIR, 'rawlog.db'));
  const filter = { user: undefined, name: RECORD.metric_name, from: undefined, to: undefined };
  const job = deleteRecords(reader, 'metric', filter);
  while (reader.deletions.unfinished().length === 0) job.next();
  reader.close();
  expect(await runCli(['import', restored], { env })).toMatchObject({
    exitCode: 0,
    stdout: 'Imported 3 records; 0 already stored.\n',
  });
  const next = openReader(join(env.DATA_DIR, 'rawlog.db'));
  expect(runJob(finishDeletions(next))).toBe(0);
  next.close();
  expect(stored(env).map((row) => row['data_string'])).toEqual(['n0', 'n1', 'n2']);
  expect(await runCli(['verify'], { env })).toMatchObject({ exitCode: 0 });
});
