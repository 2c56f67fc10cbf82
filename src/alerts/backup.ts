import type { BackupSchedule } from '../backup/schedule.ts';
import type { Observation } from './alert.ts';
import { durationText } from './text.ts';

/** A backup is late once the newest is older than this many intervals. */
const LATE_INTERVALS = 2;
/** How long the server must have run: after a long stop, a backup is made at once, which takes time. */
const GRACE_SECONDS = 3_600;
/** Consecutive failures that raise the alert: about three minutes. */
const MAX_FAILURES = 3;

/** What the check reads. */
export interface BackupParts {
  readonly schedule: Pick<BackupSchedule, 'lastAt' | 'failures'>;
  /** BACKUP_EVERY. */
  readonly everySeconds: number;
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number;
  /** How long the server has run. */
  readonly uptimeSeconds: () => number;
}

/** Creates the check whether scheduled backups are late or fail. */
export function createBackupCheck({ schedule, everySeconds, now, uptimeSeconds }: BackupParts): () => Observation[] {
  return () => {
    const lastAt = schedule.lastAt();
    const failures = schedule.failures();
    const uptime = uptimeSeconds();
    const age = lastAt === undefined ? uptime : (now() - lastAt) / 1000;
    const isLate = age > LATE_INTERVALS * everySeconds;
    const newest = lastAt === undefined ? 'There is none yet' : `The newest is ${durationText(age)} old`;
    const isUnclear = isLate && uptime < GRACE_SECONDS && failures < MAX_FAILURES;
    return [
      {
        key: '',
        isActive: isUnclear ? undefined : isLate || failures >= MAX_FAILURES,
        clearAfterSeconds: 0,
        summary: `Scheduled backups ${failures > 0 ? 'fail' : 'are late'}. ${newest}; the log says why.`,
        details: {
          last_at: lastAt === undefined ? null : new Date(lastAt).toISOString(),
          age_seconds: lastAt === undefined ? null : Math.round(age),
          failures,
        },
      },
    ];
  };
}
