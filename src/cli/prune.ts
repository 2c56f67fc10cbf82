import { statSync } from 'node:fs';
import { dirname } from 'node:path';
import type { PruneReport } from '../control/protocol.ts';
import { configuredSinks } from '../formats/forward-url.ts';
import { isLimited, parseRetentionTime, type Retention } from '../formats/retention.ts';
import { escapeControls } from '../formats/visible-text.ts';
import { readFreeBytes } from '../free-bytes.ts';
import { LOW_SPACE } from '../ingest/free-space.ts';
import type { Kind } from '../records.ts';
import { READER_BUSY_TIMEOUT_MS } from '../storage/database.ts';
import type { ReaderStorage } from '../storage/reader.ts';
import { KEEP_NOTHING, readPageUse, reclaimSpace, vacuum } from '../storage/reclaiming.ts';
import { countExpired, type PruneRequest, pruneRecords } from '../storage/retention.ts';
import { readSinks } from '../storage/sink-store.ts';
import { truncateWal } from '../storage/wal.ts';
import {
  type CommandOptions,
  defineCommand,
  flag,
  JSON_OPTION,
  MIGRATION_SETTINGS,
  UsageError,
  type Values,
} from './command.ts';
import { countOf, print } from './output.ts';
import { type RunJob, runInServerOrHere } from './run-command.ts';

const options = {
  'older-than': {
    value: '<age>',
    help: 'delete records whose timestamp is older, such as 30d or 12h; by default, as RETENTION_DAYS and RETENTION say',
    parse: parseRetentionTime,
  },
  name: { value: '<name>', help: 'only this metric', parse: (text: string) => text },
  type: { value: '<type>', help: 'only events of this type', parse: (text: string) => text },
  'dry-run': flag('report what would be deleted, and delete nothing'),
  json: JSON_OPTION,
} satisfies CommandOptions;

/** The command that deletes old records. */
export const pruneCommand = defineCommand({
  name: 'prune',
  summary: 'Delete old records and shrink the database; the server may be running',
  settings: [...MIGRATION_SETTINGS, 'RETENTION_DAYS', 'RETENTION', 'FORWARD_URL'],
  examples: [
    { purpose: 'Delete all records older than 90 days', commandLine: 'rawlog prune --older-than 90d' },
    {
      purpose: 'Report how many events of one type are older than a week',
      commandLine: 'rawlog prune --older-than 7d --type debug --dry-run',
    },
  ],
  options,
  check({ 'older-than': age, name, type }) {
    const errors = [];
    if (name !== undefined && type !== undefined) errors.push('--name and --type are mutually exclusive');
    if (age === undefined && (name ?? type) !== undefined) errors.push('--name and --type require --older-than');
    return errors;
  },
  async run({ config }, given) {
    const { retention: configured, minFreeBytes, databasePath, forwardUrls } = config();
    const asked = retentionOf(given) ?? (isLimited(configured) ? configured : undefined);
    const isDryRun = given['dry-run'] === true;
    const argument = { ...(asked && { retention: asked }), is_dry_run: isDryRun };
    const report = await runInServerOrHere(config(), 'prune', argument, ({ reader }, run) => {
      if (!asked) {
        throw new UsageError('Nothing says what to delete: give --older-than, or set RETENTION_DAYS or RETENTION');
      }
      const delivered = {
        sinks: configuredSinks(readSinks(reader.client), forwardUrls),
        isAwaited: readFreeBytes(dirname(databasePath)) >= LOW_SPACE * minFreeBytes,
      };
      return pruneOffline(reader, { retention: asked, now: Date.now(), delivered }, isDryRun, run);
    });
    print(given.json ? JSON.stringify(toJson(report, isDryRun)) : toText(report, isDryRun));
    return 0;
  },
});

/** Deletes the expired records of a database that no server has open, and shrinks its file. */
function pruneOffline(reader: ReaderStorage, request: PruneRequest, isDryRun: boolean, run: RunJob): PruneReport {
  const path = reader.client.filename;
  const before = sizeOf(path);
  if (isDryRun) return { ...run(countExpired(reader, request)), before, after: before, needsRewrite: false };
  const pruned = run(pruneRecords(reader, request));
  run(reclaimSpace(reader, KEEP_NOTHING));
  if (!readPageUse(reader.client).canShrink) vacuum(reader.client, readFreeBytes(dirname(path)));
  truncateWal(reader.client, READER_BUSY_TIMEOUT_MS); // only a checkpoint of the whole log shortens the file
  return { ...pruned, before, after: sizeOf(path), needsRewrite: false };
}

/** Returns what the options say; undefined if they leave it to the settings. */
function retentionOf({ 'older-than': seconds, name, type }: Values<typeof options>): Retention | undefined {
  if (seconds === undefined) return undefined;
  const rule = (kind: Kind, text: string): Retention => ({
    seconds: undefined,
    rules: [{ kind, name: text, seconds }],
  });
  if (name !== undefined) return rule('metric', name);
  return type === undefined ? { seconds, rules: [] } : rule('analytics', type);
}

function toJson({ rows, bytes, skipped, before, after }: PruneReport, isDryRun: boolean) {
  return {
    dry_run: isDryRun,
    deleted: { metrics: rows.metric, analytics: rows.analytics },
    bytes,
    ...(skipped.length > 0 && { skipped }),
    database_bytes: { before, after },
  };
}

function toText({ rows, bytes, skipped, before, after, needsRewrite }: PruneReport, isDryRun: boolean): string {
  const records = `${countOf(rows.metric, 'metric')} and ${countOf(rows.analytics, 'event')} (${countOf(bytes, 'byte')})`;
  const missed = skipped
    .map(({ sink, rows: count }) => ` ${escapeControls(sink)} had not received ${count} of them.`)
    .join('');
  if (isDryRun) return `Would delete ${records}.${missed}`;
  const size = `Deleted ${records}.${missed} The database has ${countOf(after, 'byte')}; before, it had ${before}.`;
  return needsRewrite ? `${size} To shrink it, stop the server and run this command again.` : size;
}

function sizeOf(path: string): number {
  return statSync(path, { throwIfNoEntry: false })?.size ?? 0;
}
