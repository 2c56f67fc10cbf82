import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** URL prefix of the page's scripts, styles and icon. */
const ASSETS_PREFIX = '/assets/';

/** A file of the dashboard, ready to be served. */
export interface BundledFile {
  readonly path: string;
  /** Gzipped content in base64, because the result of a macro is inlined as source text. */
  readonly gzip: string;
}

/**
 * Bundles the page: its HTML at `/`, and assets whose names contain a hash of their content.
 *
 * Called as a macro, so the binary and a server that runs from source serve the same files. `Bun.build` does not work
 * inside a macro; this runs `bun build` in a child process instead.
 */
export function bundlePage(): BundledFile[] {
  const folder = mkdtempSync(join(tmpdir(), 'rawlog-page-'));
  try {
    // unlike the server, the page has no schema checks, which minification breaks
    const page = join(import.meta.dir, 'page/index.html');
    const options = ['--outdir', folder, '--minify', `--public-path=${ASSETS_PREFIX}`, '--entry-naming=[name].[ext]'];
    const bundling = Bun.spawnSync([process.execPath, 'build', page, ...options], {
      env: { ...process.env, NODE_ENV: 'production' },
    });
    if (!bundling.success) throw new Error(`Cannot bundle the dashboard: ${bundling.stderr}`);
    return readdirSync(folder).map((name) => ({
      path: name === 'index.html' ? '/' : ASSETS_PREFIX + name,
      gzip: gzipSync(readFileSync(join(folder, name)), { level: 9 }).toString('base64'),
    }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
