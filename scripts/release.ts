import { createHash } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { basename, dirname, join, resolve } from 'node:path';
import { parseArgs } from 'node:util';
import { devDependencies, name, scripts, version } from '../package.json';

/*
 * Builds a release: a binary per platform, a software bill of materials, and their checksums with a signature.
 *
 *   npm run release -- --key ~/.ssh/rawlog-release
 *
 * Each binary that this machine can run is started once. The private key belongs to the maintainer and never to the
 * repository; scripts/release-signers lists the public keys.
 */

const ROOT = resolve(import.meta.dir, '..');
/** The namespace of the signature: ssh-keygen(1) rejects a signature that was made for another purpose. */
const NAMESPACE = 'rawlog-release';
/** Who signs, in the file of public keys. */
const IDENTITY = 'release@rawlog';

interface Platform {
  /** Bun's name of the platform. */
  readonly target: string;
  readonly suffix: string;
  /** The command that runs a binary of the platform on this machine; undefined if there is none. */
  readonly runner?: readonly string[];
}

/** The platforms, by the name in the files. x64-baseline is for processors without AVX2. */
const PLATFORMS: Readonly<Record<string, Platform>> = {
  'linux-x64': { target: 'bun-linux-x64-modern', suffix: '', runner: [] },
  'linux-x64-baseline': { target: 'bun-linux-x64-baseline', suffix: '', runner: [] },
  'linux-arm64': {
    target: 'bun-linux-arm64',
    suffix: '',
    // Debian's packages qemu-user-static and libc6-arm64-cross
    runner: ['qemu-aarch64-static', '-L', '/usr/aarch64-linux-gnu'],
  },
  'darwin-arm64': { target: 'bun-darwin-arm64', suffix: '' },
  'windows-x64': { target: 'bun-windows-x64', suffix: '.exe' },
};

const { values } = parseArgs({
  options: {
    out: { type: 'string', default: join(ROOT, 'dist/release') },
    platforms: { type: 'string', default: Object.keys(PLATFORMS).join(',') },
    key: { type: 'string' },
    signers: { type: 'string', default: join(ROOT, 'scripts/release-signers') },
  },
});

const out = resolve(values.out);
const unknown = values.platforms.split(',').filter((platform) => !(platform in PLATFORMS));
if (unknown.length > 0) fail(`Unknown platforms: ${unknown.join(', ')}. Known: ${Object.keys(PLATFORMS).join(', ')}.`);
rmSync(out, { recursive: true, force: true });
mkdirSync(out, { recursive: true });

const files: string[] = [];
for (const platform of values.platforms.split(',')) files.push(await buildBinary(platform));
files.push(writeBillOfMaterials());
writeChecksums();
if (values.key === undefined) console.log('not signed: pass --key with the path of a private key');
else sign(values.key);
console.log(`\n${out} contains the release ${version}.`);

/** Builds and runs the binary of a platform; returns the name of its file. */
async function buildBinary(platform: string): Promise<string> {
  const { target, suffix, runner } = PLATFORMS[platform] as Platform; // the names were checked
  const file = `${name}-${version}-${platform}${suffix}`;
  // in its own folder, because the build writes source maps beside the binary
  const folder = join(out, 'build', platform);
  mkdirSync(folder, { recursive: true });
  const built = join(folder, `rawlog${suffix}`);
  const words = scripts.build.split(' ').slice(2); // after "bun build"
  words.splice(words.indexOf('--outfile'), 2);
  run([process.execPath, 'build', `--target=${target}`, ...words, '--outfile', built]);
  renameSync(built, join(out, file));
  console.log(`${file}: built, ${checkBinary(join(out, file), runner)}`);
  return file;
}

/** Runs a binary if this machine can; returns what was done. */
function checkBinary(path: string, runner: readonly string[] | undefined): string {
  if (runner === undefined || (runner[0] !== undefined && Bun.which(runner[0]) === null)) return 'not run';
  const printed = run([...runner, path, 'version']).trim();
  if (printed !== version) fail(`${basename(path)} prints the version ${printed}, not ${version}.`);
  return 'and run';
}

/**
 * Writes the bill of materials in CycloneDX format: the packages in the binary, as npm lists them, and Bun, which the
 * binary contains too. Returns the name of the file.
 */
function writeBillOfMaterials(): string {
  interface Bill {
    readonly metadata: { readonly component: object };
    readonly components: object[];
  }
  const bill: Bill = JSON.parse(run(['npm', 'sbom', '--sbom-format', 'cyclonedx', '--omit', 'dev']));
  const bun = {
    type: 'platform',
    name: 'bun',
    version: devDependencies.bun,
    purl: `pkg:npm/bun@${devDependencies.bun}`,
  };
  const component = { ...bill.metadata.component, name, type: 'application' };
  const complete = {
    ...bill,
    metadata: { ...bill.metadata, component },
    components: [...bill.components, { 'bom-ref': `bun@${devDependencies.bun}`, ...bun, scope: 'required' }],
  };
  const file = `${name}-${version}.cdx.json`;
  writeFileSync(join(out, file), `${JSON.stringify(complete, null, 2)}\n`);
  console.log(`${file}: ${complete.components.length} components`);
  return file;
}

/** Writes SHA256SUMS in the format of sha256sum(1). */
function writeChecksums(): void {
  const lines = files.map((file) => {
    const digest = createHash('sha256')
      .update(readFileSync(join(out, file)))
      .digest('hex');
    return `${digest}  ${file}\n`;
  });
  writeFileSync(join(out, 'SHA256SUMS'), lines.join(''));
  rmSync(join(out, 'build'), { recursive: true });
}

/** Signs the checksums, and verifies the signature as a user would, with the public keys in the repository. */
function sign(key: string): void {
  const sums = join(out, 'SHA256SUMS');
  if (!existsSync(key)) fail(`There is no key at ${key}.`);
  run(['ssh-keygen', '-Y', 'sign', '-f', key, '-n', NAMESPACE, sums]);
  const { success, stderr } = Bun.spawnSync(
    ['ssh-keygen', '-Y', 'verify', '-f', values.signers, '-I', IDENTITY, '-n', NAMESPACE, '-s', `${sums}.sig`],
    { stdin: Bun.file(sums) },
  );
  if (!success) {
    rmSync(`${sums}.sig`);
    fail(`The key is not among the public keys in ${values.signers}: ${stderr.toString().trim()}`);
  }
  console.log('SHA256SUMS: signed, and the signature verified');
}

/** Runs a program; returns its standard output. Its failure ends the release. */
function run(command: string[]): string {
  const { success, stdout, stderr } = Bun.spawnSync(command, { cwd: ROOT, env: { ...Bun.env, PATH: searchPath() } });
  if (!success) fail(`${command.join(' ')} failed:\n${stderr.toString()}`);
  return stdout.toString();
}

/** Returns the search path with the folder of this Bun first: its build scripts start another one. */
function searchPath(): string {
  return `${dirname(process.execPath)}:${Bun.env['PATH'] ?? ''}`;
}

function fail(message: string): never {
  console.error(message);
  process.exit(1);
}
