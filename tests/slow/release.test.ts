import { expect, test } from 'bun:test';
import { appendFileSync, copyFileSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { version } from '../../package.json';
import { readDocument } from '../docs/markdown.ts';
import { temporaryFolder } from '../harness/target.ts';

/*
 * A release of one platform, signed with a key of this test and checked as docs/deploy.md says.
 */

const ROOT = resolve(import.meta.dir, '../..');
const isPossible = Bun.which('ssh-keygen') !== null && process.platform === 'linux' && process.arch === 'x64';
if (!isPossible) console.warn('SKIPPED: the release; it needs Linux on x64, and "apt-get install openssh-client"');

/** Creates a key pair; returns the path of the private key. */
function createKey(folder: string, name: string): string {
  const path = join(folder, name);
  Bun.spawnSync(['ssh-keygen', '-q', '-t', 'ed25519', '-N', '', '-C', '', '-f', path]);
  return path;
}

/** Runs the release script for this machine's platform. */
async function release(...args: string[]): Promise<{ exitCode: number; output: string }> {
  const child = Bun.spawn([process.execPath, 'scripts/release.ts', '--platforms', 'linux-x64', ...args], {
    cwd: ROOT,
    stdout: 'pipe',
    stderr: 'pipe',
  });
  const [stdout, stderr, exitCode] = await Promise.all([
    new Response(child.stdout).text(),
    new Response(child.stderr).text(),
    child.exited,
  ]);
  return { exitCode, output: stdout + stderr };
}

test.skipIf(!isPossible)('a release contains a binary, a bill of materials and signed checksums', async () => {
  using folder = temporaryFolder();
  const out = join(folder.path, 'release');
  const key = createKey(folder.path, 'key');
  const signers = join(folder.path, 'signers');
  copyFileSync(join(ROOT, 'scripts/release-signers'), signers);
  const unlisted = await release('--out', out, '--key', key, '--signers', signers);
  expect(unlisted).toEqual({ exitCode: 1, output: expect.stringContaining('The key is not among the public keys') });
  expect(readdirSync(out)).not.toContain('SHA256SUMS.sig');

  const publicKey = readFileSync(`${key}.pub`, 'utf8').trim();
  appendFileSync(signers, `release@rawlog namespaces="rawlog-release" ${publicKey}\n`);
  const { exitCode, output } = await release('--out', out, '--key', key, '--signers', signers);
  expect({ exitCode, output }).toEqual({ exitCode: 0, output: expect.stringContaining('linux-x64: built, and run') });
  const binary = `rawlog-${version}-linux-x64`;
  const bill = `rawlog-${version}.cdx.json`;
  expect(readdirSync(out).sort()).toEqual([binary, bill, 'SHA256SUMS', 'SHA256SUMS.sig'].sort());

  const { components, metadata } = JSON.parse(readFileSync(join(out, bill), 'utf8'));
  expect(metadata.component).toMatchObject({ name: 'rawlog', version, type: 'application' });
  const names = components.map(({ name }: { name: string }) => name);
  expect(names).toContain('elysia');
  expect(names).toContain('bun');
  expect(names).not.toContain('typescript');

  // as documented, next to the downloaded files
  const commands = readDocument('docs/deploy.md').blocks.find(({ mode }) => mode === 'release')?.text ?? '';
  mkdirSync(join(out, 'scripts'));
  copyFileSync(signers, join(out, 'scripts/release-signers'));
  const check = () => Bun.spawnSync(['bash', '-euo', 'pipefail', '-c', commands], { cwd: out }).exitCode;
  expect(check()).toBe(0);
  appendFileSync(join(out, binary), 'x');
  expect(check()).not.toBe(0);
  writeFileSync(join(out, 'SHA256SUMS'), '');
  expect(check()).not.toBe(0);
});

test('the repository contains no private key', () => {
  const { stdout } = Bun.spawnSync(
    ['git', 'grep', '-l', '-e', '-----BEGIN OPENSSH PRIVATE', '--', 'scripts', 'deploy'],
    {
      cwd: ROOT,
    },
  );
  expect(stdout.toString()).toBe('');
});
