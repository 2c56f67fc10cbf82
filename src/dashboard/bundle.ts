import { mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { gzipSync } from 'node:zlib';

/** The folder of the server that the page's script, style and icon are in. */
const FOLDER = '/assets/';

/** A file of the page as it is served. */
export interface BundledFile {
  readonly path: string;
  /** Its bytes, compressed by gzip, in base64: what a macro gives becomes source text. */
  readonly gzip: string;
}

/**
 * Bundles the page: its HTML as `/`, and beside it files whose names change with their content.
 *
 * It is called as a macro, when this project is built or run from its sources, so that both have the page in
 * the same way. A macro runs inside the bundler, where `Bun.build` is refused: another process does it.
 */
export function bundledPage(): BundledFile[] {
  const folder = mkdtempSync(join(tmpdir(), 'rawlog-page-'));
  try {
    // minified, which the server never is: it would lose the checks of schemas, and the page has none
    const page = join(import.meta.dir, 'page/index.html');
    const options = ['--outdir', folder, '--minify', `--public-path=${FOLDER}`, '--entry-naming=[name].[ext]'];
    const bundling = Bun.spawnSync([process.execPath, 'build', page, ...options], {
      env: { ...process.env, NODE_ENV: 'production' },
    });
    if (!bundling.success) throw new Error(`the page could not be bundled: ${bundling.stderr}`);
    return readdirSync(folder).map((name) => ({
      path: name === 'index.html' ? '/' : FOLDER + name,
      gzip: gzipSync(readFileSync(join(folder, name)), { level: 9 }).toString('base64'),
    }));
  } finally {
    rmSync(folder, { recursive: true, force: true });
  }
}
