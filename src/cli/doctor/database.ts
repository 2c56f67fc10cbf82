import type { Config } from '../../config.ts';
import { millisecondOf } from '../../storage/record-id.ts';
import { newestSeq } from '../../storage/records.ts';
import { isOutdated } from '../../storage/schema-version.ts';
import { messageOf } from '../../storage/storage-error.ts';
import { hasDatabase, openDatabase } from '../open-database.ts';
import { durationText } from '../units.ts';
import { type Finding, problemsOf } from './finding.ts';

/** When this version was written: a clock before it is wrong. In milliseconds since 1970. */
const EARLIEST_CLOCK = Date.UTC(2026, 0, 1);

/**
 * Checks that the database can be opened, and the clock against its newest row.
 *
 * @param isServed whether a server has it open
 */
export function checkDatabase({ databasePath, maxClockSkewUs }: Config, isServed: boolean): Finding[] {
  const problem = problemsOf('database');
  if (!hasDatabase(databasePath)) {
    return [
      problem(
        'There is no database.',
        'Start the server once to create one, or check DATA_DIR and DATABASE_URL.',
        databasePath,
      ),
    ];
  }
  let client: ReturnType<typeof openDatabase>;
  try {
    client = openDatabase(databasePath);
  } catch (error) {
    const remedy = 'See the detail of this finding, which "rawlog doctor" prints without --public.';
    return [problem('The database cannot be opened.', remedy, messageOf(error))];
  }
  try {
    const findings = checkClock(
      Math.max(newestSeq(client, 'metric'), newestSeq(client, 'analytics')),
      maxClockSkewUs / 1_000,
    );
    if (!isServed && isOutdated(client)) {
      findings.push({
        check: 'database',
        level: 'reminder',
        summary: 'An older version of rawlog wrote the database. The next start of the server upgrades it.',
        remedy: 'Keep an export or a backup until you trust the new version.',
      });
    }
    return findings;
  } catch (error) {
    return [
      problem(
        'The database cannot be read.',
        'Run "rawlog verify" to list the damage, or restore a backup.',
        messageOf(error),
      ),
    ];
  } finally {
    client.close();
  }
}

/** Checks the clock against the newest row, whose key is the time at which it was received. */
function checkClock(newest: number, allowedSkewMs: number): Finding[] {
  const problem = problemsOf('clock');
  const remedy = 'Synchronize the clock, for example with systemd-timesyncd or chrony.';
  const now = Date.now();
  if (now < EARLIEST_CLOCK) {
    return [problem('The clock of this machine is years behind.', remedy, new Date(now).toISOString())];
  }
  const aheadMs = newest > 0 ? millisecondOf(newest) - now : 0;
  if (aheadMs <= allowedSkewMs) return [];
  return [
    problem(
      `The newest row was received ${durationText(aheadMs / 1_000)} from now: the clock is behind, or was ahead. Until it catches up, the time parts of new IDs are ahead of the clock, and timestamps of correct clients may be rejected.`,
      remedy,
      `The clock says ${new Date(now).toISOString()}, the newest row ${new Date(millisecondOf(newest)).toISOString()}.`,
    ),
  ];
}
