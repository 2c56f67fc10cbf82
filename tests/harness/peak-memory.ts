/*
 * Runs a command, prints its peak resident memory in bytes, and exits with its status. Linux includes that of the process that
 * has spawned it, so a test, which can have a gigabyte by then, runs this script in between.
 */
const child = Bun.spawn(process.argv.slice(2), { stdin: 'ignore', stdout: 'ignore', stderr: 'inherit' });
const status = await child.exited;
console.log(child.resourceUsage()?.maxRSS);
process.exit(status);
