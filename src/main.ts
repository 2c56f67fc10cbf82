import { run } from './cli/program.ts';

// New files (database, secrets) are accessible only to their owner.
process.umask(0o077);

// exit explicitly: under --watch, setting an exit code would not end the process
process.exit(await run(Bun.argv.slice(2), Bun.env));
