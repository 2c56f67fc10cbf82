import { describe, expect, test } from 'bun:test';
import { resolve } from 'node:path';

/*
 * The rules of biome.jsonc that state the structure. A pattern that matches nothing would go unnoticed otherwise.
 */

const ROOT = resolve(import.meta.dir, '..');

/** Lints a text as if it were a file of the project; returns what Biome says of it. */
async function lint(path: string, source: string): Promise<string> {
  const child = Bun.spawn([`${ROOT}/node_modules/.bin/biome`, 'lint', `--stdin-file-path=${path}`], {
    cwd: ROOT,
    stdin: new Blob([source]),
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  await child.exited;
  return out + err;
}

const imports = (from: string) => `import { x } from '${from}';\nexport const y = x;\n`;
const RESTRICTED = 'lint/style/noRestrictedImports';

describe('rejects an import against the direction of the layers', () => {
  test.each([
    ['src/errors.ts', './config.ts'],
    ['src/formats/json.ts', '../errors.ts'],
    ['src/config.ts', './storage/database.ts'],
    ['src/config.ts', './records.ts'],
    ['src/durable-file.ts', './server.ts'],
    ['src/records.ts', './responses.ts'],
    ['src/records.ts', './storage/database.ts'],
    ['src/storage/x.ts', '../query/engine.ts'],
    ['src/storage/x.ts', '../ingest/ids.ts'],
    ['src/storage/columns/x.ts', '../../query/engine.ts'],
    ['src/export/x.ts', '../query/engine.ts'],
    ['src/query/x.ts', '../http/parameters.ts'],
    ['src/query/x.ts', '../auth/verifier.ts'],
    ['src/tail/x.ts', '../auth/verifier.ts'],
    ['src/ingest/x.ts', '../http/body.ts'],
    ['src/auth/x.ts', '../server.ts'],
    ['src/http/x.ts', '../app.ts'],
    ['src/http/x.ts', './routes/docs.ts'],
    ['src/http/routes/x.ts', '../../app.ts'],
    ['src/http/routes/x.ts', '../../cli/command.ts'],
    ['src/app.ts', './server.ts'],
    ['src/app.ts', './cli/program.ts'],
    ['src/server.ts', './cli/program.ts'],
    ['src/server.ts', './main.ts'],
    ['src/cli/x.ts', '../main.ts'],
    ['src/dashboard/link.ts', '../config.ts'],
    ['src/dashboard/page/x.ts', '../../query/series.ts'],
    ['src/dashboard/page/views/x.tsx', '../../../http/errors.ts'],
    ...['query', 'http', 'http/routes', 'export', 'tail', 'ingest', 'auth', 'cli', 'formats'].map(
      (folder) => [`src/${folder}/x.ts`, 'bun:sqlite'] as const,
    ),
    ['src/server.ts', 'bun:sqlite'],
    ['src/records.ts', 'bun:sqlite'],
  ])('of %s: %s', async (path, from) => {
    expect(await lint(path, imports(from))).toContain(RESTRICTED);
  });
});

describe('accepts an import along it', () => {
  test.each([
    ['src/config.ts', './formats/duration.ts'],
    ['src/durable-file.ts', './durable-folder.ts'],
    ['src/records.ts', './errors.ts'],
    ['src/storage/x.ts', '../records.ts'],
    ['src/storage/x.ts', './columns/chunk.ts'],
    ['src/storage/columns/x.ts', '../job.ts'],
    ['src/storage/x.ts', 'bun:sqlite'],
    ['src/export/x.ts', '../storage/records.ts'],
    ['src/query/x.ts', '../export/export.ts'],
    ['src/tail/x.ts', '../export/encode.ts'],
    ['src/http/routes/x.ts', '../../query/engine.ts'],
    ['src/http/routes/x.ts', '../../dashboard/bundle.ts'],
    ['src/app.ts', './http/cors.ts'],
    ['src/server.ts', './app.ts'],
    ['src/cli/x.ts', '../server.ts'],
    ['src/main.ts', './cli/program.ts'],
    ['src/dashboard/page/x.ts', '../../responses.ts'],
    ['src/dashboard/page/views/x.tsx', '../api.ts'],
    ['src/dashboard/page/views/x.tsx', '../../../records.ts'],
  ])('of %s: %s', async (path, from) => {
    expect(await lint(path, imports(from))).not.toContain(RESTRICTED);
  });
});

describe('rejects SQL outside storage', () => {
  test.each([
    "'SELECT 1'",
    '`DELETE FROM metrics WHERE seq = ${1}`',
    "'PRAGMA user_version'",
    "'VACUUM'",
    "'BEGIN IMMEDIATE'",
  ])('%s', async (text) => {
    const source = `export const text = ${text};\n`;
    expect(await lint('src/cli/x.ts', source)).toContain('SQL belongs in src/storage');
    expect(await lint('src/storage/x.ts', source)).not.toContain('SQL belongs');
  });

  test('and not the words of people', async () => {
    const source = "export const texts = ['DELETE', 'Select a range', '-----BEGIN KEY-----', 'with a file'];\n";
    expect(await lint('src/http/x.ts', source)).not.toContain('SQL belongs');
  });
});

test('rejects URLs made of requests', async () => {
  const source = 'export const path = (request: Request) => new URL(request.url).pathname;\n';
  for (const path of ['src/http/x.ts', 'src/http/routes/x.ts']) {
    expect(await lint(path, source)).toContain('lint/style/noRestrictedGlobals');
  }
});
