import { expect, test } from 'bun:test';
import { cpSync, mkdirSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { temporaryFolder } from '../harness/target.ts';

const ROOT = join(import.meta.dir, '../..');

const compressedSize = async (name: string) =>
  Bun.gzipSync(await Bun.file(join(ROOT, 'client/dist', name)).bytes(), { level: 9 }).length;

test('the client is less than 5 KB compressed, and needs no other file', async () => {
  const size = await compressedSize('index.js');
  console.log(`index.js: ${size} bytes compressed; capture.js: ${await compressedSize('capture.js')}`);
  expect(size).toBeLessThan(5_120);
  const text = await Bun.file(join(ROOT, 'client/dist/index.js')).text();
  expect(text).not.toMatch(/\b(import|require)\b/);
});

test('a strict project compiles with the types of the package, with and without DOM types', async () => {
  using folder = temporaryFolder();
  const installed = join(folder.path, 'node_modules/rawlog-client');
  mkdirSync(installed, { recursive: true });
  for (const name of ['package.json', 'dist']) {
    cpSync(join(ROOT, 'client', name), join(installed, name), { recursive: true });
  }
  writeFileSync(
    join(folder.path, 'app.ts'),
    `import { createClient, type Client, type Item, type Rejection } from 'rawlog-client';
import { capture } from 'rawlog-client/capture';
const client: Client = createClient({
  url: 'https://log.example.com',
  token: async () => 'token',
  storage: { path: '/var/lib/app/queue' },
  onRejected(items: Item[], { status, code, message }: Rejection) {
    const first = items[0];
    const name: string | undefined = first && ('metric_name' in first ? first.metric_name : first.type);
    const text: string = code + message + status.toFixed() + name;
    text.trim();
  },
});
client.metric('n', 1);
client.metric('n', 1, 'label', { timestamp: new Date() });
client.track('n');
client.track('n', { a: 1 }, 'label', { timestamp: 5 });
const done: Promise<void> = client.flush().then(() => client.close());
const stop: () => void = capture(client, { pageViews: true });
createClient({ url: '', token: '', storage: 'memory' });
// @ts-expect-error the value is a number
client.metric('n', '1');
// @ts-expect-error data is an object
client.track('n', 'text');
// @ts-expect-error no such storage
createClient({ url: '', token: '', storage: 'disk' });
export { done, stop };
`,
  );
  const compile = (lib: string) =>
    Bun.spawn(
      [
        join(ROOT, 'node_modules/.bin/tsc'),
        '--strict',
        '--noEmit',
        '--module',
        'nodenext',
        '--target',
        'es2022',
        '--lib',
        lib,
        '--types',
        '',
        'app.ts',
      ],
      {
        cwd: folder.path,
        stdout: 'pipe',
      },
    );
  const outputs = ['es2022', 'es2022,dom'].map((lib) => new Response(compile(lib).stdout).text());
  expect(await Promise.all(outputs)).toEqual(['', '']);
});
