import type { Database } from 'bun:sqlite';
import { escapeControls } from '../formats/visible-text.ts';
import { type PropertyPath, propertyOf } from '../properties.ts';
import { KINDS, type Kind } from '../records.ts';
import { type Chunk, type ChunkBlobs, decodeChunk, hasChecksum, seqsOf } from './columns/chunk.ts';
import { createEventDataReader } from './columns/event-data.ts';
import type { Extent } from './columns/extent.ts';
import { type ColumnBlobs, ColumnBuilder, hasColumnChecksum, StoredColumn } from './columns/property-column.ts';
import { IMPORTING } from './columns/rebuild.ts';
import { isSummaryOf, type SummaryBlobs } from './columns/summary.ts';
import { readUnfinished } from './deletion-list.ts';
import { DELETED, readLedger, STORED } from './ledger.ts';
import { isRecordId, MAX_SEQ, seqOfId } from './record-id.ts';
import { countLostSources, isMoved } from './record-sources.ts';
import { HAPPENED_AT, idOf } from './row-form.ts';
import { isOutdated } from './schema-version.ts';
import { UnusableDatabaseError } from './storage-error.ts';
import { createTextHash, type TextHash } from './text-hash.ts';
import { createUserRowsVerification, type UserRowsVerification } from './verify-user-rows.ts';

/** Maximum number of problems listed; further ones are only counted. */
const MAX_PROBLEMS = 100;
/** Rows read per statement. */
const READ_ROWS = 5_000;
/** Maximum number of texts cached in memory, for users and for labels each. */
const MAX_TEXTS = 200_000;
/** Modulus of digests: a double represents the sum of two of them exactly. */
const DIGEST_RANGE = 2 ** 52;

/** What the operator should do about a problem. */
const RESTORE = 'Restore a backup.';
const REBUILD = 'Run "rawlog rebuild".';
const REBUILD_OR_RESTORE = 'If the rows are correct, run "rawlog rebuild"; otherwise restore a backup.';

/** The result of a verification. */
export interface Verification {
  /** Problems, each with what is wrong and what to do; empty if there are none. */
  readonly problems: readonly string[];
  /** Number of problems that are not listed in `problems`. */
  readonly omitted: number;
  /** Number of rows, excluding erased ones. */
  readonly rows: Readonly<Record<Kind, number>>;
  /** Number of sealed chunks. */
  readonly chunks: number;
}

/** A digest of a series that does not depend on the order of its rows: their number and the sum of their hashes. */
interface Digest {
  rows: number;
  sum: number;
}

/**
 * Verifies a database: page structure, each row, the rows against the column store, chunk checksums, and the ledger
 * against the rows. Everything is read in one snapshot. A server can record meanwhile, but the write-ahead log grows
 * until the verification ends.
 *
 * The comparison covers the fields that the column store contains: key, user, name, label, time and value, and the
 * properties that have columns. The rest of the `data` of events is only checked to be valid JSON.
 *
 * @param onRows called with the number of rows in each batch that was verified
 * @throws {UnusableDatabaseError} if migrations are pending
 */
export function verifyDatabase(client: Database, onRows: (rows: number) => void = () => {}): Verification {
  if (isOutdated(client)) {
    throw new UnusableDatabaseError(
      'It was written by an older version of rawlog. Start the server once to upgrade it.',
    );
  }
  const problems: string[] = [];
  let omitted = 0;
  const report = (problem: string) => {
    if (problems.length < MAX_PROBLEMS)
      problems.push(escapeControls(problem)); // a name in a message may contain any
    else omitted++;
  };
  client.run('BEGIN');
  try {
    for (const line of integrityProblems(client)) report(line);
    const hash = createTextHash(client);
    const columns = readColumnState(client);
    const counts = { metric: 0, analytics: 0 };
    const expected = new Map<number, Digest>();
    const users = createTexts(client, 'users', hash, report);
    const userRows = createUserRowsVerification(
      client,
      hash,
      (user) => (columns.erasedNumbers.has(user) ? undefined : users(user)),
      (kind) => columns.sealedTo(kind, 0),
      report,
    );
    for (const kind of KINDS) {
      counts[kind] = verifyRows(client, kind, hash, columns, expected, userRows, report, onRows);
    }
    const damagedChunks = new Set<number>();
    const chunks = columns.isRebuilding
      ? 0
      : verifyChunks(client, hash, columns, users, expected, damagedChunks, report);
    if (!columns.isRebuilding) verifyProperties(client, columns, damagedChunks, report);
    if (!columns.isRebuilding) userRows.compare();
    const lost = countLostSources(client);
    if (lost > 0) report(`The imported records of ${lost} source IDs are missing. ${RESTORE}`);
    verifyLedger(client, counts.metric + counts.analytics, report);
    return { problems, omitted, rows: counts, chunks };
  } finally {
    client.run('COMMIT');
  }
}

function integrityProblems(client: Database): string[] {
  return client
    .query<{ integrity_check: string }, []>('PRAGMA integrity_check')
    .all()
    .flatMap(({ integrity_check: line }) =>
      line === 'ok' ? [] : [`The database file is damaged: ${line}. ${RESTORE}`],
    );
}

/** The state of the column store: which rows it must contain. */
interface ColumnState {
  readonly isRebuilding: boolean;
  /** Returns the `seq` up to which the rows of a series are in chunks. */
  readonly sealedTo: (kind: Kind, series: number) => number;
  readonly seriesOf: (kind: Kind, name: string) => number | undefined;
  /** Returns the description of a series, for messages. */
  readonly nameOf: (series: number) => string;
  /** Returns the metric name or event type of a series. */
  readonly textOf: (series: number) => string;
  /** Returns whether rows of a series are being removed, so that its chunks may contain more rows than the tables. */
  readonly isChanging: (series: number) => boolean;
  /** Returns whether an unfinished erasure covers a row. */
  readonly isBeingErased: (userId: string, seq: number) => boolean;
  readonly erasedNumbers: ReadonlySet<number>;
  /** Returns whether an unfinished deletion covers a series, whose chunks can then contain rows that are already blank. */
  readonly hasDeletion: (series: number) => boolean;
}

function readColumnState(client: Database): ColumnState {
  const state = new Map(
    client
      .query<{ name: string; value: number }, []>('SELECT name, value FROM column_state')
      .all()
      .map(({ name, value }) => [name, value]),
  );
  const beyond = new Map(
    client
      .query<{ series_id: number; seq: number }, []>('SELECT series_id, seq FROM sealed_series')
      .all()
      .map(({ series_id, seq }) => [series_id, seq]),
  );
  const series: Record<Kind, Map<string, number>> = { metric: new Map(), analytics: new Map() };
  const names = new Map<number, string>();
  const texts = new Map<number, string>();
  for (const { id, kind, name } of client
    .query<{ id: number; kind: Kind; name: string }, []>('SELECT id, kind, name FROM series WHERE name IS NOT NULL')
    .all()) {
    series[kind].set(name, id);
    names.set(id, describeSeries(kind, name));
    texts.set(id, name);
  }
  const erasures = client
    .query<{ userId: string; cutoff: number; number: number | null }, []>(
      `SELECT pending_user_id AS userId, cutoff_seq AS cutoff, user_number AS number
       FROM erasures WHERE pending_user_id IS NOT NULL`,
    )
    .all();
  const deletions = new Set(readUnfinished(client).map(({ kind, filter }) => describeSeries(kind, filter.name)));
  return {
    isRebuilding: state.get('rebuilding') === 1 || state.get(IMPORTING) === 1,
    sealedTo: (kind, id) => Math.max(state.get(kind) ?? 0, beyond.get(id) ?? 0),
    seriesOf: (kind, name) => series[kind].get(name),
    nameOf: (id) => names.get(id) ?? `series ${id}`,
    textOf: (id) => texts.get(id) ?? '',
    isChanging: (id) => erasures.length > 0 || deletions.has(names.get(id) ?? ''),
    isBeingErased: (userId, seq) => erasures.some((erasure) => erasure.userId === userId && seq <= erasure.cutoff),
    erasedNumbers: new Set(erasures.flatMap(({ number }) => number ?? [])),
    hasDeletion: (id) => deletions.has(names.get(id) ?? ''),
  };
}

function describeSeries(kind: Kind, name: string): string {
  return `${kind === 'metric' ? 'metric' : 'event type'} ${JSON.stringify(name)}`;
}

interface Row {
  readonly seq: number;
  readonly id: string;
  readonly userId: string;
  readonly time: number;
  readonly name: string;
  readonly label: string;
  readonly value: number;
  readonly isValid: number;
}

const SOURCES = {
  metric: 'metric_name AS name, data_string AS label, metric_value AS value, 1 AS isValid FROM metrics',
  analytics: 'type AS name, data_index AS label, 0 AS value, json_valid(data) AS isValid FROM analytics',
} as const;

/** Verifies each row, and adds the rows that must be in chunks to the digests. Returns the number of rows. */
function verifyRows(
  client: Database,
  kind: Kind,
  hash: TextHash,
  columns: ColumnState,
  digests: Map<number, Digest>,
  userRows: UserRowsVerification,
  report: (problem: string) => void,
  onRows: (rows: number) => void,
): number {
  const next = client.prepare<Row, [number]>(
    `SELECT seq, id, user_id AS userId, ${HAPPENED_AT} AS time, ${SOURCES[kind]} WHERE seq > ? ORDER BY seq LIMIT ${READ_ROWS}`,
  );
  let count = 0;
  const missingNames = new Set<string>();
  for (let rows = next.all(-1); rows.length > 0; rows = next.all(rows.at(-1)?.seq ?? MAX_SEQ)) {
    for (const row of rows) {
      if (row.userId === '') continue; // blank
      count++;
      if (row.seq > MAX_SEQ) continue; // from an old import; never in chunks
      const id = idOf(row.seq, row.id);
      if (!isRecordId(id) || (seqOfId(id) !== row.seq && !isMoved(client, row.seq, id))) {
        report(`The ID of row ${row.seq} does not match its key: the row is damaged. ${RESTORE}`);
      }
      if (row.isValid === 0) report(`The data of row ${row.seq} is not JSON: the row is damaged. ${RESTORE}`);
      if (columns.isRebuilding || columns.isBeingErased(row.userId, row.seq)) continue;
      userRows.addRow(kind, row.userId, row.seq);
      const series = columns.seriesOf(kind, row.name);
      if (series === undefined) {
        if (row.seq <= columns.sealedTo(kind, 0) && !missingNames.has(row.name)) {
          missingNames.add(row.name);
          const missing = describeSeries(kind, row.name);
          report(`The column store does not contain the ${missing} of row ${row.seq}. ${REBUILD_OR_RESTORE}`);
        }
      } else if (row.seq <= columns.sealedTo(kind, series)) {
        add(digests, series, digestOf(hash, row));
      }
    }
    onRows(rows.length);
  }
  return count;
}

/** Verifies the chunks, and compares their rows with the digests. Returns the number of chunks, and adds the damaged ones. */
function verifyChunks(
  client: Database,
  hash: TextHash,
  columns: ColumnState,
  users: (number: number) => string,
  expected: ReadonlyMap<number, Digest>,
  damagedChunks: Set<number>,
  report: (problem: string) => void,
): number {
  const found = new Map<number, Digest>();
  const labels = createTexts(client, 'labels', hash, report);
  const ids = client.query<{ id: number }, []>('SELECT id FROM chunks WHERE rows > 0').all();
  const read = client.prepare<ChunkBlobs & Extent & { series: number; checksum: number }, [number]>(
    `SELECT series_id AS series, rows, min_time AS minTime, max_time AS maxTime, checksum, times, users, labels, "values", seqs
     FROM chunks WHERE id = ?`,
  );
  const readSummary = client.prepare<SummaryBlobs, [number]>(
    `SELECT checksum, quarters_checksum AS quartersChecksum, quarters, hours, sorted
     FROM chunk_summaries WHERE chunk_id = ?`,
  );
  const damaged = new Set<number>();
  for (const { id } of ids) {
    const row = read.get(id);
    if (!row) continue;
    if (!hasChecksum(row, row.checksum)) {
      damaged.add(row.series);
      damagedChunks.add(id);
      report(`The checksum of chunk ${id} of the ${columns.nameOf(row.series)} does not match its data. ${REBUILD}`);
      continue;
    }
    const chunk = decodeChunk(row, row);
    if (chunk.times.length !== row.rows || chunk.times.some((time) => time < row.minTime || time > row.maxTime)) {
      damagedChunks.add(id);
      report(
        `The rows of chunk ${id} of the ${columns.nameOf(row.series)} contradict its row count or time range. ${REBUILD}`,
      );
      damaged.add(row.series);
      continue;
    }
    const summary = readSummary.get(id);
    if (summary && !isSummaryOf(chunk, summary)) {
      report(`The summary of chunk ${id} of the ${columns.nameOf(row.series)} does not match its rows. ${REBUILD}`);
    }
    const seqs = seqsOf({ ...chunk, rows: chunk.times.length });
    for (let i = 0; i < chunk.times.length; i++) {
      const user = chunk.users[i] as number;
      if (columns.erasedNumbers.has(user)) continue;
      const [userId, label] = [users(user), labels(chunk.labels[i] as number)];
      const [seq, time, value] = [seqs[i] as number, chunk.times[i] as number, chunk.values[i] ?? 0];
      add(found, row.series, digestOf(hash, { seq, userId, label, time, value }));
    }
  }
  for (const series of new Set([...expected.keys(), ...found.keys()])) {
    const [rows, chunks] = [expected.get(series), found.get(series)];
    const isEqual = rows?.rows === chunks?.rows && rows?.sum === chunks?.sum;
    if (isEqual || damaged.has(series) || columns.hasDeletion(series)) continue;
    report(
      `The rows and the column store differ for the ${columns.nameOf(series)}: ${rows?.rows ?? 0} rows, ${chunks?.rows ?? 0} in chunks. ${REBUILD_OR_RESTORE}`,
    );
  }
  return ids.length;
}

/** Verifies the stored columns of properties against the data of the rows. */
function verifyProperties(
  client: Database,
  columns: ColumnState,
  damagedChunks: ReadonlySet<number>,
  report: (problem: string) => void,
): void {
  const list = client
    .query<{ id: number; chunk: number; series: number; path: string }, []>(
      `SELECT property_columns.id, chunk_id AS chunk, chunks.series_id AS series, path FROM property_columns
       JOIN properties ON properties.id = property_id JOIN chunks ON chunks.id = chunk_id
       WHERE chunk_id > 0 AND path IS NOT NULL AND property_columns.checksum >= 0
       AND chunk_checksum = chunks.checksum`,
    )
    .all();
  const readColumn = client.prepare<ColumnBlobs & { checksum: number }, [number]>(
    'SELECT checksum, codes, "values" FROM property_columns WHERE id = ?',
  );
  const readChunk = client.prepare<ChunkBlobs & Extent, [number]>(
    `SELECT rows, min_time AS minTime, max_time AS maxTime, times, users, labels, "values", seqs FROM chunks WHERE id = ?`,
  );
  const readData = createEventDataReader(client);
  for (const { id, chunk, series, path } of list) {
    const blobs = readColumn.get(id);
    const source = readChunk.get(chunk);
    if (!blobs || !source || damagedChunks.has(chunk) || columns.isChanging(series)) continue;
    const where = `of the property ${path} of the ${columns.nameOf(series)} in chunk ${chunk}`;
    if (!hasColumnChecksum(blobs, blobs.checksum)) {
      report(`The checksum ${where} does not match its data. ${REBUILD}`);
      continue;
    }
    try {
      if (
        matchesRows(blobs, decodeChunk(source, source), JSON.parse(path), (seqs, visit) =>
          readData(columns.textOf(series), seqs, visit),
        )
      ) {
        continue;
      }
      report(`The values ${where} differ from those in the rows. ${REBUILD}`);
    } catch (error) {
      report(`The values ${where} cannot be compared with the rows: ${(error as Error).message}. ${REBUILD}`);
    }
  }
}

/**
 * Returns whether a column has the values of the rows of its chunk.
 *
 * @throws if the column cannot be decoded, or the data of a row is not JSON
 */
function matchesRows(
  blobs: ColumnBlobs,
  chunk: Pick<Chunk, 'rows' | 'seqs'>,
  path: PropertyPath,
  readData: (seqs: Float64Array, visit: (index: number, data: string) => void) => number,
): boolean {
  const { codes, values } = new StoredColumn(blobs, chunk.rows, 'verified');
  const seqs = seqsOf(chunk);
  const expected = new ColumnBuilder(chunk.rows);
  for (let at = 0; at < seqs.length; ) {
    const start = at;
    at += readData(seqs.subarray(start), (index, data) =>
      expected.set(start + index, propertyOf(JSON.parse(data), path)),
    );
  }
  const { codes: found, values: foundValues } = expected.column(0, chunk.rows);
  return codes.every((code: number, row: number) => values[code] === foundValues[found[row] as number]);
}

/** Creates the function that returns the text of a number. It verifies each text when it first reads it. */
function createTexts(
  client: Database,
  table: 'users' | 'labels',
  hash: TextHash,
  report: (problem: string) => void,
): (number: number) => string {
  const [column, scope] = table === 'users' ? ['user_id', '0'] : ['label', 'series_id'];
  const read = client.prepare<{ text: string | null; scope: number; hash: number | null }, [number]>(
    `SELECT ${column} AS text, ${scope} AS scope, hash FROM ${table} WHERE id = ?`,
  );
  const cache = new Map<number, string>();
  return (number) => {
    const cached = cache.get(number);
    if (cached !== undefined) return cached;
    const row = read.get(number);
    if (row?.text == null)
      report(`The column store refers to row ${number} of ${table}, which has no text. ${REBUILD}`);
    else if (hash(row.text, row.scope) !== row.hash) {
      report(`The text of row ${number} of ${table} does not match its hash. ${REBUILD}`);
    }
    if (cache.size >= MAX_TEXTS) cache.clear();
    cache.set(number, row?.text ?? '');
    return row?.text ?? '';
  };
}

function verifyLedger(client: Database, present: number, report: (problem: string) => void): void {
  const counts = new Map(readLedger(client));
  const stored = counts.get(STORED) ?? 0;
  const deleted = counts.get(DELETED) ?? 0;
  if (stored - deleted === present) return;
  report(
    `The ledger counts ${stored} stored and ${deleted} deleted items, but the database contains ${present} rows. Rows were added or removed by another program, or lost. Compare with a backup.`,
  );
}

function add(digests: Map<number, Digest>, series: number, value: number): void {
  const digest = digests.get(series);
  if (!digest) {
    digests.set(series, { rows: 1, sum: value });
    return;
  }
  digest.rows++;
  digest.sum = (digest.sum + value) % DIGEST_RANGE;
}

function digestOf(
  hash: TextHash,
  { seq, userId, label, time, value }: Pick<Row, 'seq' | 'userId' | 'label' | 'time' | 'value'>,
): number {
  const number = Object.is(value, -0) ? '-0' : value;
  return hash(JSON.stringify([seq, userId, label, time, number])) % DIGEST_RANGE;
}
