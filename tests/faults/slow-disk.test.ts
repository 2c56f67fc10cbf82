import { expect, test } from 'bun:test';
import { mkdtempSync, rmSync } from 'node:fs';
import { METRIC, post, rows, send } from '../harness/client.ts';
import { isStraceMissing, onSlowDisk, slowDown } from '../harness/slow-disk.ts';
import { startTarget, type Target, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

/** Longer than the time in which a server responds to a probe. */
const FSYNC_MS = 300;

/** Creates a folder in memory, where an fsync takes no time unless it is delayed. */
function memoryFolder(): { path: string } & Disposable {
  const path = mkdtempSync('/dev/shm/rawlog-');
  return { path, [Symbol.dispose]: () => rmSync(path, { recursive: true }) };
}

async function fsyncMode({ url }: Target): Promise<string> {
  const headers = { authorization: `Bearer ${await token({ role: 'admin' })}` };
  return (await send(`${url}/api/status`, { headers })).body.storage.fsync.mode;
}

/** Records until the write-ahead log is synced in a mode. */
async function recordUntil(target: Target, mode: string): Promise<number> {
  let recorded = 0;
  while ((await fsyncMode(target)) !== mode) {
    expect((await post(target, '/log_raw_metric', METRIC)).status).toBe(200);
    recorded++;
  }
  return recorded;
}

/** Returns which of a recording and a probe sent just after it got its response first. */
async function firstResponse(target: Target): Promise<string> {
  const recording = post(target, '/log_raw_metric', METRIC).then(() => 'recording');
  const probe = send(`${target.url}/healthz`).then(() => 'probe');
  const first = await Promise.race([recording, probe]);
  await Promise.all([recording, probe]);
  return first;
}

test.skipIf(isStraceMissing)(
  'fsyncs move to a thread while the disk is slow, so that probes do not wait for it, and back once it is fast',
  async () => {
    using folder = memoryFolder();
    const target = await startTarget(UNLIMITED, { dataDir: folder.path });
    try {
      let recorded = await recordUntil(target, 'inline');
      {
        await using _slow = await slowDown(target.process.pid, FSYNC_MS);
        recorded += await recordUntil(target, 'thread');
        for (let i = 0; i < 5; i++) expect(await firstResponse(target)).toBe('probe');
        expect(await fsyncMode(target)).toBe('thread');
      }
      recorded += 5 + (await recordUntil(target, 'inline'));
      expect(rows(target, 'metrics')).toHaveLength(recorded);
    } finally {
      await target.stop();
    }
  },
  60_000,
);

test.skipIf(isStraceMissing)(
  'a server that starts on a slow disk never syncs on its main thread',
  async () => {
    using folder = memoryFolder();
    const target = await startTarget(UNLIMITED, { dataDir: folder.path, prefix: onSlowDisk(FSYNC_MS) });
    try {
      expect(await fsyncMode(target)).toBe('thread');
      expect(await firstResponse(target)).toBe('probe');
    } finally {
      await target.stop();
    }
  },
  60_000,
);
