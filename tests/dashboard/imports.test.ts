import { expect, test } from 'bun:test';
import { readFileSync } from 'node:fs';
import { join, relative, resolve } from 'node:path';

const PAGE = resolve(import.meta.dir, '../../src/dashboard/page');

test('the page imports only response types (in api.ts) and time zone arithmetic from the server', () => {
  const files = [...new Bun.Glob('**/*.{ts,tsx}').scanSync(PAGE)];
  expect(files.length).toBeGreaterThan(20);
  const outside = files.flatMap((file) =>
    [...readFileSync(join(PAGE, file), 'utf8').matchAll(/^(?:import|export) (type )?[^;]*?'(\.[^']+)'/gm)]
      .map(([, kind, path = '']) => ({ kind, target: relative(PAGE, resolve(PAGE, file, '..', path)) }))
      .filter(({ target }) => target.startsWith('..') && target !== '../../formats/time-zone.ts')
      .map(({ kind }) => ({ file, isType: kind === 'type ' })),
  );
  expect(outside.filter(({ file, isType }) => file !== 'api.ts' || !isType)).toEqual([]);
});
