import { expect, test } from 'bun:test';
import { readFileSync, writeFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { join } from 'node:path';
import { readDocument } from '../docs/markdown.ts';
import { exportedIds, succeed } from '../harness/backups.ts';
import { METRIC, post } from '../harness/client.ts';
import { startTarget, temporaryFolder, UNLIMITED } from '../harness/target.ts';

/** The path of Litestream; undefined on platforms other than Linux on x64. */
const LITESTREAM = findLitestream();
if (LITESTREAM === undefined) console.warn('SKIPPED: Litestream; its package is for Linux on x64');

function findLitestream(): string | undefined {
  try {
    return createRequire(import.meta.url).resolve('@flydotio/litestream-linux-x64/litestream');
  } catch {
    return undefined;
  }
}

test.skipIf(LITESTREAM === undefined)(
  'Litestream replicates a server, which also starts beside it',
  async () => {
    using folder = temporaryFolder();
    const dataDir = join(folder.path, 'data');
    const config = join(folder.path, 'litestream.yml');
    const example = readDocument('docs/backup.md').blocks.find(({ mode }) => mode === 'litestream')?.text ?? '';
    const replica = `{path: ${join(folder.path, 'replica')}, sync-interval: 100ms}`;
    writeFileSync(
      config,
      example.replace('path: /var/lib/rawlog', `path: ${dataDir}`).replace('url: s3://bucket/rawlog', replica),
    );
    const litestream = (...args: string[]) => [LITESTREAM ?? '', ...args];
    const acknowledged: string[] = [];
    const record = async (target: { url: string }, batches: number) => {
      for (let i = 0; i < batches; i++) {
        const { status, body } = await post(target, '/log_batch', { metrics: Array(500).fill(METRIC) });
        expect(status).toBe(200);
        acknowledged.push(...body.metrics);
      }
    };
    /** Restores the replica into a new folder until it contains all records, and returns that folder. */
    const restore = async (name: string) => {
      for (let attempt = 0; ; attempt++) {
        const restored = join(folder.path, `${name}${attempt}`);
        const output = join(restored, 'rawlog.db');
        const child = Bun.spawn(litestream('restore', '-o', output, '-config', config, join(dataDir, 'rawlog.db')), {
          stdout: 'ignore',
          stderr: 'ignore',
        });
        if ((await child.exited) === 0 && (await exportedIds(restored)).length === acknowledged.length) return restored;
      }
    };

    const target = await startTarget(UNLIMITED, { dataDir });
    const log = join(folder.path, 'litestream.log');
    const replication = Bun.spawn(litestream('replicate', '-config', config), {
      stdout: Bun.file(log),
      stderr: 'ignore',
    });
    try {
      await record(target, 60); // several restarts of the write-ahead log
      const first = await restore('first');
      expect((await exportedIds(first)).sort()).toEqual([...acknowledged].sort());
      expect(await succeed(['verify'], first)).toContain('verified');

      await target.stop('SIGKILL');
      const restarted = await startTarget(UNLIMITED, { dataDir });
      await record(restarted, 1);
      await restore('second');
      const backup = join(folder.path, 'backup.tar');
      await succeed(['backup', backup], dataDir);
      await succeed(['restore', backup], join(folder.path, 'third'));
      expect(await restarted.stop()).toBe(0);
      expect(await succeed(['verify'], dataDir)).toContain('verified');
      expect(readFileSync(log, 'utf8')).not.toContain('level=ERROR');
    } finally {
      replication.kill();
      await replication.exited;
    }
  },
  120_000,
);
