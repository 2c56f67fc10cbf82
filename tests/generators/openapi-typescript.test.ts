import { afterAll, beforeAll, test } from 'bun:test';
import { cpSync } from 'node:fs';
import { join } from 'node:path';
import { startTarget, type Target } from '../harness/target.ts';
import { token } from '../harness/tokens.ts';
import { DOCUMENT } from './documents.ts';
import { compile, installGenerators, run } from './generators.ts';

let target: Target;
beforeAll(async () => {
  target = await startTarget();
});
afterAll(() => target.stop());

test('the types of openapi-typescript compile, and describe the responses of a server', async () => {
  const folder = await installGenerators('openapi-typescript');
  cpSync(DOCUMENT, join(folder, 'openapi.json'));
  await run(['node_modules/.bin/openapi-typescript', 'openapi.json', '-o', 'schema.ts'], folder);
  await compile(folder, ['consumer.ts']);
  const tokens = [await token(), await token({ sub: 'operator', role: 'admin' })];
  await run([process.execPath, 'consumer.ts', target.url, ...tokens], folder);
});
