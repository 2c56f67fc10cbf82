import { expect } from 'bun:test';
import { join } from 'node:path';
import type { ActivityQuery } from '../../src/query/activity.ts';
import { type QueryLimits, QueryTooLargeError } from '../../src/query/budget.ts';
import { createEngine, type Engine } from '../../src/query/engine.ts';
import type { FunnelQuery } from '../../src/query/funnel.ts';
import type { RetentionQuery } from '../../src/query/retention.ts';
import type { BucketQuery } from '../../src/query/selection.ts';
import type { Kind } from '../../src/records.ts';
import { type ChunkOutline, ColumnStore } from '../../src/storage/columns/column-store.ts';
import { openStorage } from '../../src/storage/database.ts';
import { runJob } from '../../src/storage/job.ts';
import { openReader } from '../../src/storage/reader.ts';
import type { RecordFilter } from '../../src/storage/records.ts';
import { createWriter } from '../../src/storage/writer.ts';
import { NOTHING } from '../harness/commit.ts';
import { temporaryFolder } from '../harness/target.ts';
import type { Item } from './reference.ts';
import * as reference from './reference.ts';

/*
 * A query engine over a real database file, and beside it the rows as plain arrays.
 */

export type Recorded = Pick<Item, 'kind' | 'user' | 'name' | 'label' | 'time' | 'value'>;

/** Counts the rows of chunks that are read. */
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
      yield { ...outline, read: counted(outline.read), readTimes: counted(outline.readTimes) };
    }
  }
}

export const LIMITS: QueryLimits = { timeoutMs: 10_000, maxResultBytes: 32_000_000, isCanceled: () => false };

/** A database with its writer and its reader, and what should be in it. */
export class World {
  readonly #folder = temporaryFolder();
  readonly #path = join(this.#folder.path, 'world.db');
  readonly #storage = openStorage(this.#path);
  readonly #writer = createWriter(this.#storage);
  #reader = openReader(this.#path);
  responses: Engine = createEngine(this.#reader, LIMITS);
  items: Item[] = [];
  #seq = 1e12;

  async record(rows: readonly Recorded[]): Promise<void> {
    const added = rows.map((row, i): Item => {
      const seq = this.#seq + i;
      return { ...row, seq, id: `id-${seq}`, received: 1.7e15 + i, data: `{"value":${row.value}}` };
    });
    this.#seq += rows.length;
    await this.#writer.commit({ ...NOTHING, records: added.map(recordOf) });
    this.items.push(...added);
  }

  /** As after a restart of the server. */
  restart({ flushed }: { flushed: boolean }): void {
    if (flushed) {
      runJob(this.#reader.store.catchUp());
      runJob(this.#reader.store.seal());
    }
    this.#reader.close();
    this.#reader = openReader(this.#path);
    this.responses = createEngine(this.#reader, LIMITS);
  }

  erase(user: string): void {
    const count = (kind: Kind) => this.items.filter((item) => item.kind === kind && item.user === user).length;
    expect(runJob(this.responses.maintenance.erase(user))).toEqual({
      metrics: count('metric'),
      analytics: count('analytics'),
    });
    this.items = this.items.filter((item) => item.user !== user);
  }

  /** The column store as a reader has it that has just been started. */
  store(): CountingStore {
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

  check(query: Query): void {
    const expected = expectedOf(this.items, query);
    if (expected === reference.TOO_LARGE) expect(() => this.answer(query)).toThrow(QueryTooLargeError);
    else expectSame(JSON.parse(this.answer(query)), expected);
  }

  /** The answer as it is sent; records of all pages. */
  answer(query: Query): string {
    // a query catches up for 250 ms only, which may not be enough on a busy machine
    runJob(this.#reader.store.catchUp());
    switch (query.run) {
      case 'series':
        return this.responses.queries.series(query);
      case 'counts':
        return this.responses.queries.counts(query);
      case 'activity':
        return this.responses.queries.activity(query);
      case 'funnel':
        return this.responses.queries.funnel(query);
      case 'retention':
        return this.responses.queries.retention(query);
      case 'names':
        return this.responses.queries.names(query);
      case 'records':
        return JSON.stringify(this.#pages(query));
    }
  }

  #pages({ kind, filter, limit }: Extract<Query, { run: 'records' }>): unknown[] {
    const found: unknown[] = [];
    for (let before: number | undefined; ; ) {
      const { records, next } = this.responses.queries.page({ kind, filter, before, limit });
      expect(records.length).toBeLessThanOrEqual(limit);
      found.push(...records.map((text) => JSON.parse(text)));
      if (next === undefined) return found;
      before = next;
    }
  }
}

/** What plain arrays say. */
function expectedOf(items: readonly Item[], query: Query): unknown {
  switch (query.run) {
    case 'series':
      return reference.series(items, query);
    case 'counts':
      return reference.counts(items, query);
    case 'activity':
      return reference.activity(items, query);
    case 'funnel':
      return reference.funnel(items, query);
    case 'retention':
      return reference.retention(items, query);
    case 'names':
      return reference.names(items, query.kind, query.user);
    case 'records':
      return reference.records(items, query.kind, query.filter);
  }
}

function recordOf(item: Item) {
  const { seq, id, user: userId, time: happenedAt, received: receivedAt, name, label, value, data } = item;
  const stamp = { seq, id, userId, happenedAt, receivedAt };
  return item.kind === 'metric'
    ? ({ kind: 'metric', ...stamp, metricName: name, metricValue: value, dataString: label } as const)
    : ({ kind: 'analytics', ...stamp, type: name, dataIndex: label, data } as const);
}

/** Equal, but for the last bits of percentiles: both sides round, each at other places. */
export function expectSame(actual: unknown, expected: unknown): void {
  const sent: unknown = JSON.parse(JSON.stringify(expected));
  expect(settled(actual, sent)).toEqual(sent);
}

/** A value with those of its percentiles replaced that are as good as equal to the expected ones. */
function settled(value: unknown, expected: unknown, key = ''): unknown {
  if (typeof value === 'number' && typeof expected === 'number' && /^p\d\d$/.test(key)) {
    return Math.abs(value - expected) <= 1e-12 * (2 ** 19 + Math.abs(expected)) ? expected : value;
  }
  if (typeof value !== 'object' || value === null) return value;
  const at = (name: string) => (expected as Record<string, unknown> | null | undefined)?.[name];
  const entries = Object.entries(value).map(([name, one]) => [name, settled(one, at(name), name)]);
  return Array.isArray(value) ? entries.map(([, one]) => one) : Object.fromEntries(entries);
}

export type Query =
  | ({ run: 'series' | 'counts' } & BucketQuery)
  | ({ run: 'activity' } & ActivityQuery)
  | ({ run: 'funnel' } & FunnelQuery)
  | ({ run: 'retention' } & RetentionQuery)
  | { run: 'names'; kind: Kind; user: string | undefined }
  | { run: 'records'; kind: Kind; filter: RecordFilter; limit: number };
