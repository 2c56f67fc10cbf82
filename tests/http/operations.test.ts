import { Database } from 'bun:sqlite';
import { expect, test } from 'bun:test';
import { expectError, send } from '../harness/client.ts';
import { SECRET, startTarget } from '../harness/target.ts';

test('/healthz and /readyz need no token', async () => {
  const target = await startTarget({ JWT_SECRET: SECRET });
  try {
    for (const path of ['/healthz', '/readyz']) {
      const response = await send(target.url + path);
      expect(response.status).toBe(200);
      expect(response.body).toEqual({ status: 'ok' });
    }
  } finally {
    await target.stop();
  }
});

test('/readyz returns 503 while the database cannot be written, and /healthz returns 200', async () => {
  const target = await startTarget({ JWT_SECRET: SECRET });
  const other = new Database(target.databasePath);
  try {
    other.run('PRAGMA busy_timeout = 5000');
    other.run('BEGIN IMMEDIATE');
    const response = await send(`${target.url}/readyz`);
    expectError(response, 503, 'storage_unavailable');
    expect(Number(response.headers.get('retry-after'))).toBeGreaterThan(0);
    expect((await send(`${target.url}/healthz`)).status).toBe(200);
    other.run('ROLLBACK');
    let status = 0;
    for (const deadline = Date.now() + 5000; status !== 200 && Date.now() < deadline; ) {
      ({ status } = await send(`${target.url}/readyz`));
    }
    expect(status).toBe(200);
  } finally {
    other.close();
    await target.stop();
  }
});
