import { beforeAll, test } from 'bun:test';
import { cpSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { DOCUMENT, PLAIN_DOCUMENT } from './documents.ts';
import { compile, installGenerators, run } from './generators.ts';

/*
 * Generators whose installation takes long. openapi-generator needs Java; its npm package includes the JAR.
 */

const hasJava = Bun.which('java') !== null;
if (!hasJava) console.warn('SKIPPED: openapi-generator: "apt-get install default-jre-headless"');

let folder: string;
beforeAll(async () => {
  folder = await installGenerators('others');
  cpSync(DOCUMENT, join(folder, 'openapi.json'));
  cpSync(PLAIN_DOCUMENT, join(folder, 'openapi-plain.json'));
  for (const output of ['hey-api', 'orval', 'openapi-generator']) {
    rmSync(join(folder, output), { recursive: true, force: true });
  }
});

test('the client of hey-api compiles', async () => {
  await run(['node_modules/.bin/openapi-ts', '-f', 'hey-api.config.mjs'], folder);
  await compile(folder, ['hey-api']);
});

test('the clients of orval, with fetch and with zod, compile', async () => {
  await run(['node_modules/.bin/orval', '--config', './orval.config.cjs'], folder);
  await compile(folder, ['orval']);
});

test.skipIf(!hasJava)('the client of openapi-generator compiles', async () => {
  const jar = 'node_modules/@openapitools/openapi-generator-cli/bin/openapi-generator.jar';
  const options = '--additional-properties=typescriptThreePlus=true,supportsES6=true';
  const args = ['-i', 'openapi-plain.json', '-g', 'typescript-fetch', '-o', 'openapi-generator', options];
  await run(['java', '-jar', jar, 'generate', ...args], folder);
  await compile(folder, ['openapi-generator']);
});
