import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { join } from 'node:path';
import { rows } from '../harness/client.ts';
import { startTarget, type Target, temporaryFolder, UNLIMITED } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { type Behavior, startUnreliableProxy, type UnreliableProxy } from '../harness/unreliable-proxy.ts';

/* The TypeScript client, as built, in processes that are killed. */

const SCRIPT = join(import.meta.dir, '../harness/typescript-client-process.js');
const RUNTIMES = { Node: 'node', Bun: process.execPath };
/** How the server seems to behave while each process runs. */
const BEHAVIORS: readonly Behavior[] = ['lose', 'reset', 'stall', { status: 503 }, 'pass'];
/** The numbers of each process start at a multiple of this. */
const NUMBERS = 1_000_000;

let target: Target;
let proxy: UnreliableProxy;
beforeAll(async () => {
  target = await startTarget(UNLIMITED);
  proxy = await startUnreliableProxy(target.url);
});
afterAll(async () => {
  await proxy.stop();
  await target.stop();
});

describe.each(Object.entries(RUNTIMES))('in %s', (name, runtime) => {
  test('each item is stored once, in order, although processes are killed between retries', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'queue');
    const user = `user-of-${name}`;
    const command = [runtime, SCRIPT, proxy.url, await token({ sub: user }), path];
    const recorded: number[] = [];
    for (const [i, behavior] of BEHAVIORS.entries()) {
      proxy.usual = behavior;
      const child = Bun.spawn([...command, String(i * NUMBERS), '3'], { stdout: 'pipe', stderr: 'inherit' });
      const output = new Response(child.stdout).text();
      await proxy.received(proxy.requests.length + 1);
      child.kill('SIGKILL');
      recorded.push(Number((await output).trim().split('\n').at(-1)) - i * NUMBERS);
    }
    proxy.usual = 'pass';
    const last = Bun.spawn([...command, '0', '0'], { stdout: 'pipe', stderr: 'inherit' });
    expect(await new Response(last.stdout).text()).toBe('flushed\n');

    const stored = rows(target, 'metrics')
      .filter((row) => row['user_id'] === user)
      .map((row) => Number(row['metric_value']));
    // of each process, all numbers up to the last one that was recorded, once and in order
    const counts = BEHAVIORS.map((_, i) => stored.filter((n) => Math.floor(n / NUMBERS) === i).length);
    expect(stored).toEqual(counts.flatMap((count, i) => Array.from({ length: count }, (_, n) => i * NUMBERS + n)));
    expect(recorded.every((count, i) => count > 0 && count <= Number(counts[i]))).toBe(true);
    expect(await Bun.file(path).text()).toBe('');
    console.log(`${name}: recorded at least ${recorded.join(' + ')}, stored ${counts.join(' + ')}`);
  }, 60_000);

  test('a process cannot use the file of another one, and takes over that of a killed one', async () => {
    using folder = temporaryFolder();
    const path = join(folder.path, 'queue');
    proxy.usual = 'pass';
    const command = [runtime, SCRIPT, proxy.url, await token({ sub: `second-${name}` }), path];
    const first = Bun.spawn([...command, '0', '1'], { stdout: 'ignore', stderr: 'inherit' });
    await proxy.received(proxy.requests.length + 1);
    const second = Bun.spawn([...command, '0', '0'], { stdout: 'ignore', stderr: 'pipe' });
    expect(await new Response(second.stderr).text()).toContain(`${path} is in use`);
    first.kill('SIGKILL');
    await first.exited;
    const third = Bun.spawn([...command, '0', '0'], { stdout: 'pipe', stderr: 'inherit' });
    expect(await new Response(third.stdout).text()).toBe('flushed\n');
  }, 60_000);
});
