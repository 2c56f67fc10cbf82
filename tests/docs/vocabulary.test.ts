import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ROOT, readDocument } from './markdown.ts';

const section = readDocument('CONTRIBUTING.md').text.split('## Vocabulary')[1] ?? '';
const WORDS = section
  .split('\n')
  .filter((line) => line.startsWith('| '))
  .slice(2)
  .flatMap((line) => (line.split('|').at(-2) ?? '').split(','))
  .map((word) => word.trim())
  .filter((word) => word !== '');

/** Released migrations never change. */
const UNCHANGEABLE = 'src/storage/migrations/';
/** Other meanings of the words. */
const ALLOWED = /question marks?/gi;

test('one word is used for each thing, as CONTRIBUTING.md lists them', () => {
  const files = ['*.{md,ts,jsonc}', '{src,tests,docs,lint,.github,client}/**/*.{ts,tsx,md,yml,css,grit,lua}'].flatMap(
    (glob) => [...new Bun.Glob(glob).scanSync({ cwd: ROOT, dot: true })],
  );
  const pattern = new RegExp(`\\b(${WORDS.join('|')})\\b`, 'i');
  const found = files
    .filter((path) => !path.startsWith(UNCHANGEABLE) && !path.includes('node_modules/'))
    .flatMap((path) =>
      readFileSync(join(ROOT, path), 'utf8')
        .split('\n')
        .filter((line) => !(path === 'CONTRIBUTING.md' && line.startsWith('| ')))
        .map((line) => line.replace(ALLOWED, ''))
        .filter((line) => pattern.test(line))
        .map((line) => `${path}: ${line.trim()}`),
    );
  expect(WORDS.length).toBeGreaterThan(10);
  expect(files.length).toBeGreaterThan(200);
  expect(found).toEqual([]);
});
