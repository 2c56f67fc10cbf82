import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { cpSync, existsSync, mkdirSync, readdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { succeed } from '../harness/backups.ts';
import { METRIC, post, rows } from '../harness/client.ts';
import { killAt } from '../harness/kill-at.ts';
import { createOlderDatabase } from '../harness/older-database.ts';
import { nextStep } from '../harness/sampling.ts';
import { isStraceMissing } from '../harness/slow-disk.ts';
import { startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { FIRST_SEQ, idOf } from '../storage/log.ts';

/*
 * Kills a backup, a migration or a restore before each of the calls that change names or sync files.
 */

const folder = temporaryFolder();
afterAll(() => folder[Symbol.dispose]());
/** The data folder of a server that was killed, so that rows are only in its write-ahead log. */
const crashed = join(folder.path, 'crashed');
const backup = join(folder.path, 'backup.tar');
const [OLD_ROWS, NEW_ROWS] = [3, 500];

beforeAll(async () => {
  const source = join(folder.path, 'source');
  for (const [dataDir, count, signal] of [
    [source, NEW_ROWS, 'SIGTERM'],
    [crashed, OLD_ROWS, 'SIGKILL'],
  ] as const) {
    const target = await startTarget(UNLIMITED, { dataDir });
    expect((await post(target, '/log_batch', { metrics: Array(count).fill(METRIC) })).status).toBe(200);
    await target.stop(signal);
  }
  await succeed(['backup', backup], source);
});

/** Yields the n-th calls that are tried, until a run is no longer killed. */
async function* eachCall(run: (n: number) => Promise<boolean>): AsyncGenerator<number> {
  for (let n = 1; await run(n); n = nextStep(n)) yield n;
}

describe.skipIf(isStraceMissing)('kill -9', () => {
  test.each(['fsync', 'rename', 'unlink', 'unlinkat'])(
    'before any %s of a restore leaves the old or the new database, which starts',
    async (call) => {
      let dataDir = '';
      let kills = 0;
      const restore = (n: number) => {
        dataDir = join(folder.path, `${call}-${n}`);
        cpSync(crashed, dataDir, { recursive: true, filter: (path) => !path.endsWith('.sock') });
        return killAt(call, n, ['restore', backup, '--force'], dataDir);
      };
      for await (const n of eachCall(restore)) {
        kills++;
        const target = await startTarget(UNLIMITED, { dataDir });
        const count = rows(target, 'metrics').length;
        await target.stop();
        expect([n, OLD_ROWS, NEW_ROWS]).toContain(count);
        expect(await succeed(['verify'], dataDir)).toContain(`${count} metrics`);
        // what was left does not prevent another restore
        await succeed(['restore', backup, '--force'], dataDir);
        expect(existsSync(join(dataDir, '.rawlog-restore'))).toBe(false);
      }
      expect(kills).toBeGreaterThan(0);
      const target = await startTarget(UNLIMITED, { dataDir });
      expect(rows(target, 'metrics')).toHaveLength(NEW_ROWS);
      await target.stop();
    },
  );

  test.each(['fsync', 'rename'])(
    'before any %s of a backup before a migration does not prevent the next start',
    async (call) => {
      let dataDir = '';
      const migrate = (n: number) => {
        dataDir = join(folder.path, `migration-${call}-${n}`);
        mkdirSync(dataDir);
        createOlderDatabase(join(dataDir, 'rawlog.db'), 6, (client) => {
          client.run("INSERT INTO metrics VALUES (?, ?, 'user-1', 1, 1, 'm', 2.5, '/')", [FIRST_SEQ, idOf(FIRST_SEQ)]);
          client.run("INSERT INTO ledger VALUES ('stored', 1)");
        });
        return killAt(call, n, ['migrate'], dataDir);
      };
      const backups = () => readdirSync(dataDir).filter((name) => name.endsWith('.tar'));
      let kills = 0;
      for await (const _ of eachCall(migrate)) {
        kills++;
        for (const name of backups()) await succeed(['verify', join(dataDir, name)], dataDir);
        await succeed(['migrate'], dataDir);
        expect(backups()).toHaveLength(1);
        expect(existsSync(join(dataDir, '.rawlog-backup.tmp'))).toBe(false);
      }
      expect(kills).toBeGreaterThan(0);
      expect(backups()).toHaveLength(1);
    },
  );

  test.each(['fsync', 'rename', 'link', 'pwrite64', 'write'])(
    'before any %s of a backup leaves no incomplete file under its name',
    async (call) => {
      const previous = readFileSync(backup);
      let path = '';
      let kills = 0;
      const isOften = call === 'write' || call === 'pwrite64';
      const distance = call === 'pwrite64' ? 4 : 1;
      const run = (n: number) => {
        path = join(folder.path, `${call}-${n}.tar`);
        if (call === 'rename') cpSync(backup, path);
        const args = call === 'rename' ? ['backup', path, '--force'] : ['backup', path];
        return killAt(call, distance * n, args, crashed);
      };
      for await (const n of eachCall(run)) {
        kills++;
        if (call === 'rename') expect(readFileSync(path).equals(previous)).toBe(true);
        else if (existsSync(path)) await succeed(['verify', path], crashed);
        if (isOften && n === 5) break;
      }
      expect(kills).toBeGreaterThan(0);
      expect(readdirSync(crashed).filter((name) => name.endsWith('.tar'))).toEqual([]);
      expect(await succeed(['verify'], crashed)).toContain(`${OLD_ROWS} metrics`);
    },
  );
});
