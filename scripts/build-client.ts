import { rmSync } from 'node:fs';
import { join } from 'node:path';
import { build } from 'esbuild';

/*
 * Builds the TypeScript client into client/dist: index.js, capture.js and their types. esbuild instead of Bun's bundler,
 * because it can shorten the names of properties.
 */

const CLIENT = join(import.meta.dir, '../client');

/** Properties of objects that the client neither stores nor passes to the product. */
const INTERNAL_PROPERTIES =
  /^(bytes|clockAheadMs|compare|correct|hold|invalid|isDurable|isInFlight|isShifted|isStored|isTemporary|isUnknown|left|load|release|resumed|retryAfterMs|saved|write)$/;

rmSync(join(CLIENT, 'dist'), { recursive: true, force: true });
const options = { outdir: join(CLIENT, 'dist'), bundle: true, minify: true, format: 'esm', target: 'es2022' } as const;
await build({ ...options, entryPoints: [join(CLIENT, 'src/index.ts')], mangleProps: INTERNAL_PROPERTIES });
await build({ ...options, entryPoints: [join(CLIENT, 'src/capture.ts')] });
const types = Bun.spawnSync(['tsc', '-p', CLIENT], {
  env: { PATH: `${join(import.meta.dir, '../node_modules/.bin')}:${Bun.env['PATH']}` },
  stdout: 'inherit',
  stderr: 'inherit',
});
process.exit(types.exitCode);
