import type { Responses } from '../api.ts';
import { formatBytes, formatCount, formatDuration } from '../format.ts';

type Status = Responses['/api/status'];

/** The state of one part of the server, in words. */
export interface Check {
  readonly title: string;
  /** `off`: not configured. */
  readonly state: 'ok' | 'attention' | 'off';
  /** What is the matter, and what to do about it. */
  readonly text: string;
}

/** A disk that is full within this time needs attention, in seconds. */
const FULL_SOON_SECONDS = 14 * 86_400;
/** A backup is late after this many intervals. */
const LATE_INTERVALS = 1.5;
/** Rows are late in charts or sinks after this time, in seconds. */
const LATE_SECONDS = 60;

/** Returns the state of each part of the server that the status tells about; users see only the parts they may. */
export function checksOf(status: Status): Check[] {
  const { storage, backup, sinks, columns, query_worker: worker } = status;
  return [
    ...(storage ? [recordingCheck(status, storage), diskCheck(storage)] : []),
    ...(columns && worker ? [queryCheck(columns, worker)] : []),
    ...(backup ? [backupCheck(backup)] : []),
    ...(sinks ? [forwardingCheck(sinks)] : []),
  ];
}

function recordingCheck({ queue }: Status, storage: NonNullable<Status['storage']>): Check {
  const title = 'Recording';
  if (storage.free_bytes < storage.min_free_bytes) {
    return { title, state: 'attention', text: 'Rows are rejected, because the disk is full. Free disk space.' };
  }
  if (queue && queue.rows > queue.max_rows / 2) {
    return { title, state: 'attention', text: 'Rows arrive faster than the disk stores them.' };
  }
  return { title, state: 'ok', text: 'Rows are stored as they arrive.' };
}

function diskCheck({ free_bytes, min_free_bytes, full_in_seconds, forecast }: NonNullable<Status['storage']>): Check {
  const title = 'Disk';
  const free = `${formatBytes(free_bytes)} free`;
  const times = [full_in_seconds, forecast?.full_in_seconds].filter((seconds) => seconds != null);
  const fullIn = times.length > 0 ? Math.min(...times) : undefined;
  if (free_bytes < min_free_bytes) return { title, state: 'attention', text: `Full: ${free}.` };
  if (fullIn !== undefined && fullIn < FULL_SOON_SECONDS) {
    return { title, state: 'attention', text: `${free}, full in about ${formatDuration(fullIn)}.` };
  }
  return { title, state: 'ok', text: `${free}.` };
}

function queryCheck(columns: NonNullable<Status['columns']>, worker: NonNullable<Status['query_worker']>): Check {
  const title = 'Charts';
  if (worker.state !== 'running') return { title, state: 'attention', text: `The query worker is ${worker.state}.` };
  const seconds = columns.lag_seconds ?? 0;
  if (seconds > LATE_SECONDS) {
    return { title, state: 'attention', text: `${formatDuration(seconds)} behind what is stored.` };
  }
  return { title, state: 'ok', text: 'Up to date with what is stored.' };
}

function backupCheck({ every_seconds, age_seconds, failures }: NonNullable<Status['backup']>): Check {
  const title = 'Backups';
  if (every_seconds === null) return { title, state: 'off', text: 'Not configured.' };
  if (failures > 0) {
    return { title, state: 'attention', text: `${formatCount(failures)} failed in a row. The log says why.` };
  }
  if (age_seconds === null) return { title, state: 'ok', text: 'The first one is due.' };
  const isLate = age_seconds > LATE_INTERVALS * every_seconds;
  return { title, state: isLate ? 'attention' : 'ok', text: `The newest is ${formatDuration(age_seconds)} old.` };
}

function forwardingCheck(sinks: NonNullable<Status['sinks']>): Check {
  const title = 'Forwarding';
  if (sinks.length === 0) return { title, state: 'off', text: 'Not configured.' };
  const failing = sinks.filter(({ state }) => state === 'failing').length;
  if (failing > 0)
    return { title, state: 'attention', text: `${failing} of ${sinks.length} engines cannot be reached.` };
  const dead = sinks.reduce((sum, { dead_letters }) => sum + dead_letters, 0);
  if (dead > 0) return { title, state: 'attention', text: `${formatCount(dead)} rows were rejected by an engine.` };
  const behind = Math.max(...sinks.map(({ lag_seconds }) => lag_seconds));
  if (behind > LATE_SECONDS) return { title, state: 'attention', text: `${formatDuration(behind)} behind.` };
  return { title, state: 'ok', text: 'All rows are delivered.' };
}
