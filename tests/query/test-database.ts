import { expect } from 'bun:test';
import { join } from 'node:path';
import type { ActivityQuery } from '../../src/query/activity.ts';
import { type Budget, createBudget, type QueryLimits, QueryTooLargeError } from '../../src/query/budget.ts';
import { createQueryEngine, type QueryEngine } from '../../src/query/engine.ts';
import type { EventStep } from '../../src/query/event-step.ts';
import type { FunnelQuery } from '../../src/query/funnel.ts';
import type { RetentionQuery } from '../../src/query/retention.ts';
import type { BucketQuery } from '../../src/query/selection.ts';
import type { Kind } from '../../src/records.ts';
import { type ChunkOutline, ColumnStore, type UserRowLimits } from '../../src/storage/columns/column-store.ts';
import { openStorage } from '../../src/storage/database.ts';
import { deleteRecords } from '../../src/storage/deletion.ts';
import type { DeletionFilter } from '../../src/storage/deletion-list.ts';
import { type Job, runJob } from '../../src/storage/job.ts';
import { openReader, type ReaderStorage } from '../../src/storage/reader.ts';
import type { RecordFilter } from '../../src/storage/records.ts';
import { verifyDatabase } from '../../src/storage/verify.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { temporaryFolder } from '../harness/target.ts';
import { idOf } from '../storage/log.ts';
import type { Row } from './reference-queries.ts';
import * as reference from './reference-queries.ts';

/** A row to be recorded. */
export type NewRow = Pick<Row, 'kind' | 'user' | 'name' | 'label' | 'time' | 'value'> & Partial<Pick<Row, 'data'>>;

/** A column store that counts the rows of the chunks it reads. */
export class CountingStore extends ColumnStore {
  rowsRead = 0;

  override *outlines(...range: Parameters<ColumnStore['outlines']>): Generator<ChunkOutline> {
    for (const outline of super.outlines(...range)) {
      const counted =
        <Rows>(read: () => Rows) =>
        () => {
          this.rowsRead += outline.rows;
          return read();
        };
      yield { ...outline, read: counted(outline.read) };
    }
  }
}

/** Creates a budget that also adds up the reserved memory, in bytes. */
export function countingBudget(): Budget & { readonly reserved: () => number } {
  const budget = createBudget(LIMITS);
  let reserved = 0;
  return {
    ...budget,
    reserve(bytes) {
      reserved += bytes;
      budget.reserve(bytes);
    },
    reserved: () => reserved,
  };
}

export const LIMITS: QueryLimits = { timeoutMs: 10_000, maxResultBytes: 32_000_000, isCanceled: () => false };

/** Limits with which every query of a single user looks up its rows, even in a small database. */
export const LOOK_UP_ALWAYS: UserRowLimits = { scannedPerLookup: 0, maxUnsortedRows: 40 };

/** A database file with a writer and a query engine, and the rows it should contain. */
export class TestDatabase {
  readonly #folder = temporaryFolder();
  readonly #path = join(this.#folder.path, 'test.db');
  readonly #storage = openStorage(this.#path);
  readonly #writer = createWriter(this.#storage);
  readonly #userRowLimits: UserRowLimits | undefined;
  #reader: ReaderStorage;
  engine: QueryEngine;
  /** The rows that the database should contain, in commit order. */
  rows: Row[] = [];
  #seq = 1e12;

  constructor(userRowLimits?: UserRowLimits) {
    this.#userRowLimits = userRowLimits;
    this.#reader = this.#openReader();
    this.engine = createQueryEngine(this.#reader, LIMITS);
  }

  #openReader(): ReaderStorage {
    return openReader(this.#path, Date.now, this.#userRowLimits);
  }

  async record(rows: readonly NewRow[]): Promise<void> {
    const added = rows.map((row, i): Row => {
      const seq = this.#seq + i;
      return { data: `{"value":${row.value}}`, ...row, seq, id: idOf(seq), received: 1.7e15 + i };
    });
    this.#seq += rows.length;
    await this.#writer.commit({ ...NOTHING, records: added.map(recordOf), counts: [['stored', added.length]] });
    this.rows.push(...added);
  }

  /** Reopens the database, as after a server restart. */
  restart({ flushed }: { flushed: boolean }): void {
    if (flushed) {
      runJob(this.#reader.store.catchUp());
      runJob(this.#reader.store.seal());
    }
    this.#reopen();
  }

  #reopen(): void {
    this.#reader.close();
    this.#reader = this.#openReader();
    this.engine = createQueryEngine(this.#reader, LIMITS);
  }

  /** Runs some steps of a job, then reopens the database and finishes what was interrupted, as a server does. */
  interrupt(start: (reader: ReaderStorage) => Job<unknown>, steps: number): void {
    const job = start(this.#reader);
    for (let step = 0; step < steps && !job.next().done; step++) {
      // the next step
    }
    this.#reopen();
    runJob(this.engine.maintenance.resume());
  }

  /** Returns the problems that a verification finds. */
  problems(): readonly string[] {
    return verifyDatabase(this.#reader.client).problems;
  }

  /** Returns whether a row of a user was erased. */
  isErased(user: string, seq: number): boolean {
    return this.#reader.list.isErased(user, seq);
  }

  /** Removes rows from those that the database should contain. */
  remove(isRemoved: (row: Row) => boolean): void {
    this.rows = this.rows.filter((row) => !isRemoved(row));
  }

  /** Interrupts a deletion after some steps, and finishes it if it has begun. */
  interruptDeletion(kind: Kind, filter: DeletionFilter, steps: number): void {
    const begun = () => this.#reader.client.query<{ n: number }, []>('SELECT count(*) AS n FROM deletions').get()?.n;
    const before = begun();
    const matching = reference.matching(this.rows, kind, filter);
    this.interrupt((reader) => deleteRecords(reader, kind, filter), steps);
    if (begun() !== before) this.remove((row) => matching.includes(row));
  }

  erase(user: string): void {
    const count = (kind: Kind) => this.rows.filter((row) => row.kind === kind && row.user === user).length;
    expect(runJob(this.engine.maintenance.erase(user))).toEqual({
      metrics: count('metric'),
      analytics: count('analytics'),
    });
    this.rows = this.rows.filter((row) => row.user !== user);
  }

  /** Deletes the records that match a filter, or only counts them. */
  delete(kind: Kind, filter: DeletionFilter, isDryRun = false): void {
    const matching = reference.matching(this.rows, kind, filter);
    const { countMatching, delete: deleteRecords } = this.engine.maintenance;
    expect(runJob((isDryRun ? countMatching : deleteRecords)({ kind, filter }))).toBe(matching.length);
    if (!isDryRun) this.rows = this.rows.filter((row) => !matching.includes(row));
  }

  /** Returns a column store as a newly started reader would open it. */
  openStore(): CountingStore {
    const { client, hash } = this.#reader;
    const store = new CountingStore(client, hash);
    runJob(store.catchUp());
    return store;
  }

  close(): void {
    this.#reader.close();
    this.#storage.close();
    this.#folder[Symbol.dispose]();
  }

  /** Checks the result of a query against the reference implementation. */
  check(query: Query, isMeanRounded = false): void {
    const expected = expectedResult(this.rows, query);
    if (expected === reference.TOO_LARGE) expect(() => this.runQuery(query)).toThrow(QueryTooLargeError);
    else expectSame(JSON.parse(this.runQuery(query)), expected, isMeanRounded);
  }

  /** Returns the result of a query as sent; for records, of all pages. */
  runQuery(query: Query): string {
    // a query catches up for only 250 ms, which may not be enough on a busy machine
    runJob(this.#reader.store.catchUp());
    switch (query.run) {
      case 'series':
        return this.engine.queries.series(query);
      case 'counts':
        return this.engine.queries.counts(query);
      case 'activity':
        return this.engine.queries.activity(query);
      case 'funnel':
        return this.engine.queries.funnel(query);
      case 'retention':
        return this.engine.queries.retention(query);
      case 'names':
        return this.engine.queries.names(query);
      case 'records':
        return JSON.stringify(this.#pages(query));
    }
  }

  /** Returns the IDs in an export of a user's records. */
  exportedIds(kind: Kind, user: string): string[] {
    const filter = { user, name: undefined, from: undefined, to: undefined };
    this.engine.exports.open(1, { kind, format: 'ndjson', filter, after: 0, safe: false });
    let text = '';
    for (let part = this.engine.exports.next(1); part; part = this.engine.exports.next(1)) text += Buffer.from(part);
    return text.split('\n').flatMap((line) => (line === '' ? [] : [JSON.parse(line).id]));
  }

  #pages({ kind, filter, limit }: Extract<Query, { run: 'records' }>): unknown[] {
    const found: unknown[] = [];
    for (let before: number | undefined; ; ) {
      const { records, next } = this.engine.queries.page({ kind, filter, before, limit });
      expect(records.length).toBeLessThanOrEqual(limit);
      found.push(...records.map((text) => JSON.parse(text)));
      if (next === undefined) return found;
      before = next;
    }
  }
}

/** Returns the result of the reference implementation. */
function expectedResult(allRows: readonly Row[], query: Query): unknown {
  switch (query.run) {
    case 'series':
      return reference.series(allRows, query);
    case 'counts':
      return reference.counts(allRows, query);
    case 'activity':
      return reference.activity(allRows, query);
    case 'funnel':
      return reference.funnel(allRows, query);
    case 'retention':
      return reference.retention(allRows, query);
    case 'names':
      return reference.names(allRows, query.kind, query.user);
    case 'records':
      return reference.records(allRows, query.kind, query.filter);
  }
}

function recordOf(row: Row) {
  const { seq, id, user: userId, time: happenedAt, received: receivedAt, name, label, value, data } = row;
  const stamp = { seq, id, userId, happenedAt, receivedAt };
  return row.kind === 'metric'
    ? ({ kind: 'metric', ...stamp, metricName: name, metricValue: value, dataString: label } as const)
    : ({ kind: 'analytics', ...stamp, type: name, dataIndex: label, data } as const);
}

/**
 * Expects equal results, except for the last bits of percentiles, which both sides round differently.
 *
 * @param isMeanRounded whether the last bit of means may differ too, as documented for sums that cancel or overflow
 */
export function expectSame(actual: unknown, expected: unknown, isMeanRounded = false): void {
  const expectedJson: unknown = JSON.parse(JSON.stringify(expected));
  expect(alignRounded(actual, expectedJson, isMeanRounded)).toEqual(expectedJson);
}

/** Replaces such numbers that are nearly equal to the expected ones with the expected ones. */
function alignRounded(value: unknown, expected: unknown, isMeanRounded: boolean, key = ''): unknown {
  if (typeof value === 'number' && typeof expected === 'number' && key === 'avg' && isMeanRounded) {
    return Math.abs(value - expected) <= 2 ** -52 * Math.abs(expected) ? expected : value;
  }
  if (typeof value === 'number' && typeof expected === 'number' && /^p\d\d$/.test(key)) {
    return Math.abs(value - expected) <= 1e-12 * (2 ** 19 + Math.abs(expected)) ? expected : value;
  }
  if (typeof value !== 'object' || value === null) return value;
  const at = (name: string) => (expected as Record<string, unknown> | null | undefined)?.[name];
  const entries = Object.entries(value).map(([name, member]) => [
    name,
    alignRounded(member, at(name), isMeanRounded, name),
  ]);
  return Array.isArray(value) ? entries.map(([, member]) => member) : Object.fromEntries(entries);
}

/** Returns the steps of a query with a `type`, which are labels. */
export function stepsOf<Labels extends readonly string[]>(type: string, ...labels: Labels) {
  const steps = labels.map((label): EventStep => ({ step: label, type, dataIndex: label }));
  return steps as { [Index in keyof Labels]: EventStep }; // one step per label
}

/** A query, and the name of the query engine's function that runs it. */
export type Query =
  | ({ run: 'series' | 'counts' } & BucketQuery)
  | ({ run: 'activity' } & ActivityQuery)
  | ({ run: 'funnel' } & FunnelQuery)
  | ({ run: 'retention' } & RetentionQuery)
  | { run: 'names'; kind: Kind; user: string | undefined }
  | { run: 'records'; kind: Kind; filter: RecordFilter; limit: number };
