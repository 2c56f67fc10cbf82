import { Database } from 'bun:sqlite';

/*
 * Preloaded into the server by the power cuts' counter-check: turns the one pragma off that makes a
 * commit wait for the disk. The product has no setting for that.
 */
const run = Database.prototype.run;
Database.prototype.run = function (this: Database, sql: string, ...rest: never[]) {
  return run.call(this, sql.replace('PRAGMA synchronous = FULL', 'PRAGMA synchronous = NORMAL'), ...rest);
} as typeof run;
