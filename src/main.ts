import { run } from './cli/program.ts';

// All that the program makes (database, secret) is its user's alone.
process.umask(0o077);

process.exitCode = await run(Bun.argv.slice(2), Bun.env);
