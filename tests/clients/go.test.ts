import { afterAll, beforeAll, expect, test } from 'bun:test';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { readDocument } from '../docs/markdown.ts';
import { rows } from '../harness/client.ts';
import { startTarget, type Target, temporaryFolder } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';

const isMissing = Bun.which('go') === null;
if (isMissing) console.warn('SKIPPED: the Go example: "apt-get install golang-go"');

let target: Target;
beforeAll(async () => {
  target = await startTarget();
});
afterAll(() => target.stop());

test.skipIf(isMissing)('the Go example stores an event', async () => {
  using folder = temporaryFolder();
  const [example] = readDocument('docs/clients-python.md').blocks.filter(({ language }) => language === 'go');
  writeFileSync(join(folder.path, 'main.go'), (example?.text ?? '').replace('http://127.0.0.1:3000', target.url));
  const child = Bun.spawn(['go', 'run', 'main.go'], {
    cwd: folder.path,
    env: { PATH: Bun.env['PATH'] ?? '', HOME: folder.path, GOFLAGS: '-mod=mod', TOKEN: await token() },
    stdout: 'ignore',
    stderr: 'pipe',
  });
  expect(await new Response(child.stderr).text()).toBe('');
  expect(await child.exited).toBe(0);
  expect(rows(target, 'analytics')).toMatchObject([{ type: 'tutorial_step', data_index: 'step_5' }]);
});
