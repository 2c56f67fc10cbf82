import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { ROOT } from '../docs/markdown.ts';

const isMissing = Bun.which('mypy') === null;
if (isMissing) console.warn('SKIPPED: the types of the Python client: "apt-get install mypy"');

test.skipIf(isMissing)('the types of the Python client are complete and consistent', async () => {
  const child = Bun.spawn(
    ['mypy', '--cache-dir=/dev/null', '--python-executable', '/usr/bin/python3', '-p', 'rawlog'],
    {
      cwd: join(ROOT, 'client/python'),
      stdout: 'pipe',
      stderr: 'pipe',
    },
  );
  expect(await new Response(child.stdout).text()).toStartWith('Success');
  expect(await child.exited).toBe(0);
});
