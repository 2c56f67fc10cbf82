import { afterAll, beforeAll, describe, expect, test } from 'bun:test';
import { existsSync, readFileSync } from 'node:fs';
import { dirname, join, normalize } from 'node:path';
import { scripts } from '../../package.json';
import { STATUS_BY_CODE } from '../../src/http/status.ts';
import { SETTING_NAMES, SETTINGS } from '../../src/settings.ts';
import { send } from '../harness/client.ts';
import { startTarget, type Target } from '../harness/target.ts';
import { DOCUMENTS, ROOT, readDocument } from './markdown.ts';

let target: Target;
beforeAll(async () => {
  target = await startTarget();
});
afterAll(async () => {
  await target.stop();
});

/** Returns the rows of all tables of a text, as cells without backticks. */
function tableRows(text: string): string[][] {
  return text
    .split('\n')
    .filter((line) => line.startsWith('| '))
    .map((line) =>
      line
        .slice(1, -1)
        .split(/(?<!\\)\|/)
        .map((cell) => cell.trim().replaceAll('`', '')),
    );
}

/** Returns the anchors that GitHub gives to the headings of a text. */
function anchorsOf(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, heading = '']) =>
    heading
      .toLowerCase()
      .replace(/[^\w\- ]/g, '')
      .replaceAll(' ', '-'),
  );
}

describe('links', () => {
  const links = DOCUMENTS.flatMap(({ path, prose }) =>
    [...prose.matchAll(/\]\(([^)\s]+)\)/g)]
      .map(([, link = '']) => link)
      .filter((link) => !/^https?:/.test(link))
      .map((link) => [path, link] as const),
  );
  test.each(links)('%s links to an existing target: %s', (path, link) => {
    const [file = '', anchor] = link.split('#');
    const place = file === '' ? path : normalize(join(dirname(path), file));
    expect(existsSync(join(ROOT, place))).toBe(true);
    if (anchor !== undefined) expect(anchorsOf(readDocument(place).prose)).toContain(anchor);
  });
});

test('no sentence, table row or code block appears twice', () => {
  const seen = new Map<string, string>();
  const repeated: string[] = [];
  for (const { path, prose, blocks } of DOCUMENTS) {
    const lines = prose.split('\n');
    const isRule = (line = '') => /^\|[| -]+\|$/.test(line);
    const rows = lines.filter((line, i) => line.startsWith('| ') && !isRule(line) && !isRule(lines[i + 1]));
    const sentences = prose
      .split('\n')
      .filter((line) => !line.startsWith('|') && !line.startsWith('#'))
      .join(' ')
      .split(/(?<=[.:?!])\s+/)
      .map((sentence) => sentence.replace(/^- /, '').trim())
      .filter((sentence) => sentence.length > 30);
    for (const text of [...rows, ...sentences, ...blocks.map(({ text }) => text)]) {
      const before = seen.get(text);
      if (before !== undefined) repeated.push(`${path} repeats ${before}: ${text}`);
      seen.set(text, path);
    }
  }
  expect(repeated).toEqual([]);
});

test('the README has at most 130 lines', () => {
  expect(readDocument('README.md').text.split('\n').length).toBeLessThanOrEqual(130);
});

test('docs/configuration.md lists every setting with its default, and no other', () => {
  const rows = tableRows(readDocument('docs/configuration.md').prose).filter(([name = '']) =>
    /^[A-Z][A-Z\d_]+( †)?$/.test(name),
  );
  const listed = Object.fromEntries(rows.map(([name = '', value = '']) => [name, value]));
  const expected = Object.fromEntries(
    SETTING_NAMES.map((name) => [
      SETTINGS[name].secret ? `${name} †` : name,
      SETTINGS[name].default || (name === 'JWT_SECRET' ? 'generated' : 'none'),
    ]),
  );
  expect(listed).toEqual(expected);
});

test('docs/api.md documents every route', async () => {
  const { body } = await send(`${target.url}/swagger/json`);
  const routes = Object.entries(body.paths as Record<string, object>).flatMap(([path, methods]) =>
    Object.keys(methods).map((method) => `${method.toUpperCase()} ${path}`),
  );
  const { prose } = readDocument('docs/api.md');
  expect(routes.length).toBeGreaterThan(20);
  expect(routes.filter((route) => !prose.includes(`\`${route}`))).toEqual([]);
});

test('docs/api.md lists every error code with its status', () => {
  const rows = tableRows(readDocument('docs/api.md').prose).filter(([status = '']) => /^\d{3}$/.test(status));
  const listed = rows.flatMap(([status, codes = '']) =>
    [...codes.matchAll(/\b[a-z]+_[a-z_]+\b|unauthorized|forbidden|internal|\boverloaded/g)].map(
      ([code]) => `${status} ${code}`,
    ),
  );
  expect(listed.sort()).toEqual(
    Object.entries(STATUS_BY_CODE)
      .map(([code, status]) => `${status} ${code}`)
      .sort(),
  );
});

test('docs/operations.md lists every metric of rawlog, and no other', async () => {
  const { prose } = readDocument('docs/operations.md');
  const named = new Set(prose.match(/\brawlog_\w+/g));
  const exposed = await startTarget({ METRICS_TOKEN: 'a-token-for-metrics' });
  try {
    const { text } = await send(`${exposed.url}/metrics`, {
      headers: { authorization: 'Bearer a-token-for-metrics' },
    });
    expect(named.size).toBeGreaterThan(3);
    const existing = [...text.matchAll(/^# TYPE (rawlog_\w+) /gm)].map(([, name = '']) => name);
    expect([...named].sort()).toEqual(existing.sort());
  } finally {
    await exposed.stop();
  }
});

test('CONTRIBUTING.md names existing files, folders and scripts', () => {
  const { prose } = readDocument('CONTRIBUTING.md');
  const quoted = [...prose.matchAll(/`([^`]+)`/g)].map(([, text = '']) => text);
  const paths = quoted.filter((text) => /^[\w./-]+(\.(ts|tsx|md)|\/)$/.test(text) && !text.includes('*'));
  const roots = [
    '',
    'src',
    'src/http',
    'src/dashboard',
    'src/dashboard/page',
    'src/query',
    'src/cli',
    'src/ingest',
    'src/storage',
    'tests',
  ];
  const missing = paths.filter((path) => !roots.some((root) => existsSync(join(ROOT, root, path))));
  expect(paths.length).toBeGreaterThan(40);
  expect(missing).toEqual([]);
  const commands = quoted.flatMap((text) =>
    [...text.matchAll(/npm run (?:-s )?([\w:]+)/g)].map(([, name = '']) => name),
  );
  expect(commands.filter((name) => !(name in scripts))).toEqual([]);
});

test('docs/benchmarks.md names every benchmark and long durability test', () => {
  const { prose } = readDocument('docs/benchmarks.md');
  const names = Object.keys(scripts).filter((name) => /^(bench|faults)\b/.test(name));
  expect(names.filter((name) => !prose.includes(`\`npm run ${name}\``))).toEqual([]);
});

test('.ci/run runs the commands that need a clone', () => {
  const run = readFileSync(join(ROOT, '.ci/run'), 'utf8').replaceAll(' --silent', '');
  const commands = DOCUMENTS.flatMap(({ blocks }) => blocks)
    .filter(({ mode }) => mode === 'ci')
    .flatMap(({ text }) => text.trim().split(/\n| && /));
  expect(commands.length).toBeGreaterThan(2);
  expect(commands.filter((command) => !run.includes(command))).toEqual([]);
});
