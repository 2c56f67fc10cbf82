import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join, resolve } from 'node:path';
import { temporaryFolder } from './harness/target.ts';

/*
 * The rules in biome.jsonc that enforce the structure, because a pattern that matches nothing would go unnoticed. The
 * tests lint a small project with the same rules and one file per layer.
 */

const ROOT = resolve(import.meta.dir, '..');

/** Imports against the direction of the layers. */
const UPWARD: readonly (readonly [path: string, from: string])[] = [
  ['src/errors.ts', './config.ts'],
  ['src/formats/x.ts', '../errors.ts'],
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
  ['src/control/x.ts', '../server.ts'],
  ['src/control/x.ts', '../auth/verifier.ts'],
  ['src/control/x.ts', '../http/routes/administration.ts'],
  ['src/receiving/x.ts', '../http/body.ts'],
  ['src/receiving/x.ts', '../errors.ts'],
  ['src/alerts/x.ts', '../server.ts'],
  ['src/alerts/x.ts', '../http/metrics.ts'],
  ['src/alerts/x.ts', '../storage/database.ts'],
  ['src/http/x.ts', '../alerts/alerts.ts'],
  ['src/query/x.ts', '../alerts/alerts.ts'],
  ['src/backup/x.ts', '../http/errors.ts'],
  ['src/backup/x.ts', '../ingest/ids.ts'],
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
  ...[
    'query',
    'http',
    'http/routes',
    'export',
    'tail',
    'ingest',
    'auth',
    'backup',
    'alerts',
    'cli',
    'formats',
    'receiving',
  ].map((folder) => [`src/${folder}/x.ts`, 'bun:sqlite'] as const),
  ['src/server.ts', 'bun:sqlite'],
  ['src/records.ts', 'bun:sqlite'],
];

/** Imports in the direction of the layers. */
const DOWNWARD: typeof UPWARD = [
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
  ['src/control/x.ts', '../storage/job.ts'],
  ['src/control/x.ts', '../query/client.ts'],
  ['src/http/x.ts', '../receiving/peers.ts'],
  ['src/alerts/x.ts', '../query/client.ts'],
  ['src/alerts/x.ts', '../backup/schedule.ts'],
  ['src/server.ts', './alerts/alerts.ts'],
  ['src/http/routes/x.ts', '../../query/engine.ts'],
  ['src/http/routes/x.ts', '../../dashboard/bundle.ts'],
  ['src/app.ts', './http/cors.ts'],
  ['src/server.ts', './control/listener.ts'],
  ['src/cli/x.ts', '../control/client.ts'],
  ['src/server.ts', './app.ts'],
  ['src/cli/x.ts', '../server.ts'],
  ['src/main.ts', './cli/program.ts'],
  ['src/dashboard/page/x.ts', '../../responses.ts'],
  ['src/dashboard/page/views/x.tsx', '../api.ts'],
  ['src/dashboard/page/views/x.tsx', '../../../records.ts'],
];

const SQL = ["'SELECT 1'", '`DELETE FROM x WHERE y = 1`', "'PRAGMA user_version'", "'VACUUM'", "'BEGIN IMMEDIATE'"];
const PROSE = ["'DELETE'", "'Select a range'", "'-----BEGIN KEY-----'", "'with a file'"];

const COOKIES = [
  "document.cookie = 'a=1'",
  "document['cookie'] = 'a=1'",
  "cookieStore.set('a', '1')",
  "headers.get('cookie')",
  "headers.get('Cookie')",
  "headers.get('COOKIE')",
  "headers.append('Set-Cookie', 'a=1')",
  "headers.append(`set-cookie`, 'a=1')",
  "respond({ 'set-cookie': 'a=1' })",
  "respond({ cookie: 'a=1' })",
  "respond(['Set-Cookie: a=1'])",
  'handle(({ cookie }) => read(cookie))',
  'new Bun.CookieMap()',
  'Bun.Cookie.parse(text)',
];
const NO_COOKIES = ["say('a cookie is delicious')", 'SCHEMA_COOKIE_OFFSET', 'biscuits.get(name)'];
/** Places that no cookie is allowed in. */
const COOKIE_PLACES = [
  'src/http',
  'src/http/routes',
  'src/dashboard/page/views',
  'src/cli',
  'src/storage',
  'client/src',
];

let folder: ReturnType<typeof temporaryFolder>;
/** The lines of the small project, by file. */
const files = new Map<string, string[]>();
/** Biome's diagnostics, one per line. */
let diagnostics: string[];

/** Adds a line to a file of the small project. Returns a function that tells whether a rule rejects the line. */
function line(path: string, text: string): (rule: string) => boolean {
  const lines = files.get(path) ?? [];
  files.set(path, lines);
  const number = lines.push(text);
  return (rule) => diagnostics.some((text) => text.includes(rule) && text.includes(`/${path},line=${number},`));
}

const importLine = ([path, from]: readonly [string, string]) => line(path, `import '${from}';`);
const textLine = (path: string, text: string) => line(path, `export const text${files.get(path)?.length} = ${text};`);
const upward = UPWARD.map((pair) => [...pair, importLine(pair)] as const);
const downward = DOWNWARD.map((pair) => [...pair, importLine(pair)] as const);
const sql = SQL.map((text) => [text, textLine('src/cli/sql.ts', text), textLine('src/storage/sql.ts', text)] as const);
const prose = PROSE.map((text) => [text, textLine('src/http/prose.ts', text)] as const);
const cookies = COOKIE_PLACES.flatMap((place) =>
  COOKIES.map((text) => [text, place, line(`${place}/cookies.ts`, `${text};`)] as const),
);
const noCookies = NO_COOKIES.map((text) => [text, line('src/http/no-cookies.ts', `${text};`)] as const);
const url = 'export const path = (request: Request) => new URL(request.url).pathname;';
const urls = ['src/http/url.ts', 'src/http/routes/url.ts'].map((path) => [path, line(path, url)] as const);
const cycle = line('src/query/a.ts', "import type { B } from './b.ts'; export type A = B;");
line('src/query/b.ts', "import type { A } from './a.ts'; export type B = A | 1;");

beforeAll(async () => {
  folder = temporaryFolder();
  for (const name of ['biome.jsonc', 'lint']) cpSync(join(ROOT, name), join(folder.path, name), { recursive: true });
  for (const [path, lines] of files) {
    mkdirSync(dirname(join(folder.path, path)), { recursive: true });
    writeFileSync(join(folder.path, path), `${lines.join('\n')}\n`);
  }
  const options = ['--vcs-enabled=false', '--reporter=github', '--max-diagnostics=none'];
  const child = Bun.spawn([join(ROOT, 'node_modules/.bin/biome'), 'lint', ...options], {
    cwd: folder.path,
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [out, err] = await Promise.all([new Response(child.stdout).text(), new Response(child.stderr).text()]);
  diagnostics = `${out}${err}`.split('\n');
});
afterAll(() => folder[Symbol.dispose]());

describe('imports against the direction of the layers', () => {
  test.each(upward)('are rejected in %s: %s', (_path, _from, isRejectedBy) => {
    expect(isRejectedBy('noRestrictedImports')).toBe(true);
  });
});

describe('imports in the direction of the layers', () => {
  test.each(downward)('are accepted in %s: %s', (_path, _from, isRejectedBy) => {
    expect(isRejectedBy('noRestrictedImports')).toBe(false);
  });
});

test('import cycles are rejected, even if they import only types', () => {
  expect(cycle('noImportCycles')).toBe(true);
});

describe('SQL', () => {
  test.each(sql)('is rejected only outside storage: %s', (_text, inCli, inStorage) => {
    expect({ inCli: inCli('title=plugin'), inStorage: inStorage('title=plugin') }).toEqual({
      inCli: true,
      inStorage: false,
    });
  });
  test.each(prose)('does not include %s', (_text, isRejectedBy) => {
    expect(isRejectedBy('title=plugin')).toBe(false);
  });
});

describe('cookies', () => {
  test.each(cookies)('are rejected: %s in %s', (_text, _place, isRejectedBy) => {
    expect(isRejectedBy('title=plugin')).toBe(true);
  });
  test.each(noCookies)('do not include %s', (_text, isRejectedBy) => {
    expect(isRejectedBy('title=plugin')).toBe(false);
  });
});

describe('URLs built from a request', () => {
  test.each(urls)('are rejected in %s', (_path, isRejectedBy) => {
    expect(isRejectedBy('noRestrictedGlobals')).toBe(true);
  });
});
