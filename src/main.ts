import { run } from './cli/program.ts';

// All that the program makes (database, secret) is its user's alone.
process.umask(0o077);

// exit, and not merely a code: under --watch the process would live on
process.exit(await run(Bun.argv.slice(2), Bun.env));
