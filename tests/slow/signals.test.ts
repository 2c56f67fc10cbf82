import { describe, expect, test } from 'bun:test';
import { renameSync, rmSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { METRIC, post, send } from '../harness/client.ts';
import { createIssuerKey, startJwksServer } from '../harness/jwks-server.ts';
import { SECRET, startTarget, type Target, temporaryFolder } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const NEW_SECRET = 'another-secret-of-32-bytes-or-so';

async function statusWith(target: Target, secret: string): Promise<number> {
  const authorization = `Bearer ${await token({}, secret)}`;
  return (await post(target, '/log_raw_metric', METRIC, { authorization })).status;
}

/** Sends SIGHUP, and waits for the log line that reports the reload. */
async function hangUp(target: Target): Promise<Record<string, unknown> | undefined> {
  const lines = () => target.logLines().filter(({ msg }) => / reloaded/.test(String(msg)));
  const before = lines().length;
  target.process.kill('SIGHUP');
  await target.logged(() => lines().length > before);
  return lines().at(-1);
}

describe('SIGHUP', () => {
  test('reloads secret files, so that secrets can be rotated without a restart', async () => {
    using folder = temporaryFolder();
    const [secretFile, tokenFile] = [join(folder.path, 'secret'), join(folder.path, 'token')];
    writeFileSync(secretFile, SECRET);
    writeFileSync(tokenFile, 'the-first-token-of-scrapes');
    const target = await startTarget({ JWT_SECRET_FILE: secretFile, METRICS_TOKEN_FILE: tokenFile });
    try {
      const scrape = async (text: string) =>
        (await send(`${target.url}/metrics`, { headers: { authorization: `Bearer ${text}` } })).status;
      expect([await statusWith(target, SECRET), await statusWith(target, NEW_SECRET)]).toEqual([200, 401]);
      // both are accepted, and the new one signs
      writeFileSync(secretFile, `${NEW_SECRET}\n${SECRET}\n`);
      writeFileSync(tokenFile, 'the-second-token-of-scrapes\n');
      expect(await hangUp(target)).toMatchObject({ level: 'info' });
      expect([await statusWith(target, SECRET), await statusWith(target, NEW_SECRET)]).toEqual([200, 200]);
      expect([await scrape('the-first-token-of-scrapes'), await scrape('the-second-token-of-scrapes')]).toEqual([
        401, 200,
      ]);
      const headers = { authorization: `Bearer ${await token({ role: 'admin' }, NEW_SECRET)}` };
      const { jwt_secrets } = (await send(`${target.url}/api/status`, { headers })).body;
      expect(jwt_secrets).toEqual([{ accepted: 2 }, { accepted: 1 }]);
      // the old one is removed, even for a token that was just verified
      writeFileSync(secretFile, NEW_SECRET);
      await hangUp(target);
      expect([await statusWith(target, SECRET), await statusWith(target, NEW_SECRET)]).toEqual([401, 200]);
    } finally {
      expect(await target.stop()).toBe(0);
    }
  });

  test.each([
    ['too short', (path: string) => writeFileSync(path, 'short')],
    ['empty', (path: string) => writeFileSync(path, '')],
    ['a published sample', (path: string) => writeFileSync(path, 'x'.repeat(40))],
    ['missing', (path: string) => rmSync(path)],
    [
      'a FIFO without a writer',
      (path: string) => {
        Bun.spawnSync(['mkfifo', `${path}.fifo`]);
        renameSync(`${path}.fifo`, path);
      },
    ],
  ])('keeps the previous secret and logs an error if the file is %s', async (_name, spoil) => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'secret');
    writeFileSync(path, SECRET);
    const target = await startTarget({ JWT_SECRET_FILE: path });
    try {
      spoil(path);
      const line = await hangUp(target);
      expect(line).toMatchObject({ level: 'error', issues: [expect.stringContaining('JWT_SECRET_FILE')] });
      expect(await statusWith(target, SECRET)).toBe(200);
      rmSync(path, { force: true });
      writeFileSync(path, NEW_SECRET);
      await hangUp(target);
      expect(await statusWith(target, NEW_SECRET)).toBe(200);
    } finally {
      expect(await target.stop()).toBe(0);
    }
  });

  test('reloads the URL of the key set', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'url');
    const [first, second] = [startJwksServer(), startJwksServer()];
    const [old, next] = [await createIssuerKey('old'), await createIssuerKey('next')];
    first.state.keys = [old.jwk];
    second.state.keys = [next.jwk];
    writeFileSync(path, `${first.url}\n`);
    const target = await startTarget({ JWT_JWKS_URL_FILE: path, JWT_ALGORITHMS: 'ES256' });
    try {
      const statusOf = async (key: typeof old) =>
        (await post(target, '/log_raw_metric', METRIC, { authorization: `Bearer ${await key.sign()}` })).status;
      expect([await statusOf(old), await statusOf(next)]).toEqual([200, 401]);
      writeFileSync(path, `${second.url}\n`);
      await hangUp(target);
      expect([await statusOf(old), await statusOf(next)]).toEqual([401, 200]);
    } finally {
      await target.stop();
      await first.stop();
      await second.stop();
    }
  });

  test('keeps the generated secret if no secret is in a file', async () => {
    const target = await startTarget({});
    await target.printed('curl ');
    const printed = /Bearer ([\w.-]+)/.exec(target.output().stdout)?.[1];
    await hangUp(target);
    const response = await post(target, '/log_raw_metric', METRIC, { authorization: `Bearer ${printed}` });
    expect(response.status).toBe(200);
    expect(await target.stop()).toBe(0);
  });
});

test('SIGUSR1, SIGUSR2, SIGPIPE and repeated SIGHUP do not stop the server', async () => {
  const target = await startTarget({ JWT_SECRET: SECRET });
  for (const signal of ['SIGUSR1', 'SIGUSR2', 'SIGPIPE', 'SIGHUP', 'SIGHUP', 'SIGHUP'] as const) {
    target.process.kill(signal);
    expect(await statusWith(target, SECRET)).toBe(200);
  }
  expect(await target.stop()).toBe(0);
});

test.each(['SIGTERM', 'SIGINT', 'SIGQUIT'] as const)('%s stops the server gracefully', async (signal) => {
  const target = await startTarget({ JWT_SECRET: SECRET });
  expect(await statusWith(target, SECRET)).toBe(200);
  expect(await target.stop(signal)).toBe(0);
  expect(target.logLines()).toContainEqual(expect.objectContaining({ msg: 'stopping', signal }));
  expect(target.logLines().at(-1)).toMatchObject({ msg: 'stopped', exit_code: 0 });
});
