import { createDataTest, type PropertyPath, type PropertyValue, propertyOf } from '../../properties.ts';
import type { Chunk } from '../../storage/columns/chunk.ts';
import type { ChunkOutline, Series } from '../../storage/columns/column-store.ts';
import { ColumnBuilder, type PropertyColumn, valueHashes } from '../../storage/columns/property-column.ts';
import { encodeSeqs } from '../../storage/columns/seq-codec.ts';
import type { Budget } from '../budget.ts';
import { growInto } from '../number-index.ts';
import type { RowStore } from '../row-store.ts';
import type { Range, RowQuery } from '../selection.ts';
import type { Connection } from './connection.ts';
import { parseData } from './event-data.ts';
import { every, type Sql, sql } from './sql.ts';
import { conditionOf, uniqueRows } from './tables.ts';

/*
 * Events for queries that read properties of their data. The JSON functions of ClickHouse differ from version to version, and
 * 18.16 has none that understands nested objects, escapes or large numbers. So rawlog fetches the events, reads the
 * properties itself, and runs the query of the embedded engine over them.
 */

/** Rows of a chunk. */
const CHUNK_ROWS = 16_384;
/** Memory of a row in a chunk, in bytes. */
const ROW_BYTES = 8 + 4 + 4 + 8;
/** Memory of a row's value of a property. */
const CODE_BYTES = 8;
/** Estimated memory of a text in a dictionary, excluding the text itself. */
const TEXT_BYTES = 64;

/** What to fetch. */
export interface FetchQuery extends Pick<RowQuery, 'user' | 'labels' | 'properties'> {
  /** The event types; undefined: all. */
  readonly types: readonly string[] | undefined;
  readonly range: Range;
  /** A further condition. */
  readonly condition?: Sql;
  /** The properties that the query reads. */
  readonly paths: readonly PropertyPath[];
}

/** Numbers texts from 1, in the order in which they are first seen. */
class TextNumbers {
  readonly #budget: Budget;
  readonly #numbers = new Map<string, number>();
  /** The texts by number. */
  readonly texts: string[] = [''];

  constructor(budget: Budget) {
    this.#budget = budget;
  }

  /** @param key what makes the text unique */
  add(key: string, text: string): number {
    const known = this.#numbers.get(key);
    if (known !== undefined) return known;
    this.#budget.reserve(TEXT_BYTES + 2 * key.length + 2 * text.length);
    this.#numbers.set(key, this.texts.length);
    return this.texts.push(text) - 1;
  }

  find(key: string): number | undefined {
    return this.#numbers.get(key);
  }
}

/** The rows of an event type, in commit order. */
class FetchedSeries {
  readonly series: Series;
  readonly #budget: Budget;
  readonly #columns: readonly ColumnBuilder[];
  #rows = 0;
  #times = new Float64Array(CHUNK_ROWS);
  #users = new Uint32Array(CHUNK_ROWS);
  #labels = new Uint32Array(CHUNK_ROWS);
  #seqs = new Float64Array(CHUNK_ROWS);

  constructor(series: Series, columns: number, budget: Budget) {
    this.series = series;
    this.#budget = budget;
    this.#columns = Array.from({ length: columns }, () => new ColumnBuilder(CHUNK_ROWS));
  }

  add(time: number, user: number, label: number, seq: number, values: readonly PropertyValue[]): void {
    const row = this.#rows++;
    if (row === this.#times.length) this.#grow();
    this.#times[row] = time;
    this.#users[row] = user;
    this.#labels[row] = label;
    this.#seqs[row] = seq;
    this.#columns.forEach((column, i) => {
      const before = column.bytes;
      column.set(row, values[i] ?? null);
      this.#budget.reserve(column.bytes - before);
    });
  }

  #grow(): void {
    const rows = 2 * this.#times.length;
    this.#budget.reserve((rows / 2) * (ROW_BYTES + CODE_BYTES * this.#columns.length));
    this.#times = growInto(this.#times, new Float64Array(rows));
    this.#users = growInto(this.#users, new Uint32Array(rows));
    this.#labels = growInto(this.#labels, new Uint32Array(rows));
    this.#seqs = growInto(this.#seqs, new Float64Array(rows));
  }

  /** Yields the rows as chunks. */
  *outlines(): Generator<ChunkOutline> {
    for (let start = 0; start < this.#rows; start += CHUNK_ROWS) {
      const chunk = this.#chunk(start, Math.min(start + CHUNK_ROWS, this.#rows));
      const { rows, minTime, maxTime } = chunk;
      yield {
        ...{ rows, minTime, maxTime, chunkId: undefined, memtablePart: start / CHUNK_ROWS, read: () => chunk },
        quarters: () => undefined,
        hours: () => undefined,
        mergedHours: () => undefined,
      };
    }
  }

  #chunk(start: number, end: number): Chunk {
    const times = this.#times.subarray(start, end);
    return {
      rows: end - start,
      times,
      users: this.#users.subarray(start, end),
      labels: this.#labels.subarray(start, end),
      values: new Float64Array(0),
      seqs: encodeSeqs(this.#seqs.subarray(start, end)),
      minTime: times.reduce((least, time) => Math.min(least, time), Number.POSITIVE_INFINITY),
      maxTime: times.reduce((most, time) => Math.max(most, time), Number.NEGATIVE_INFINITY),
    };
  }

  /** Returns the columns of a chunk, one per path. */
  columnsOf(part: number, rows: number): PropertyColumn[] {
    const start = part * CHUNK_ROWS;
    return this.#columns.map((column) => column.column(start, start + rows));
  }
}

/**
 * Fetches events into a store that the queries of the embedded engine read. The store contains only rows that match, so a
 * query over it needs neither the user nor the filters.
 *
 * @throws {QueryTooLargeError} if the events do not fit in memory
 */
export async function fetchRows(connection: Connection, query: FetchQuery): Promise<RowStore> {
  const { budget } = connection;
  const { types, range, user, labels, properties = [], condition, paths } = query;
  const { from, to, extent } = range;
  const users = new TextNumbers(budget);
  const labelTexts = new TextNumbers(budget);
  const byType = new Map<string, FetchedSeries>();
  const hasData = createDataTest(properties);
  const seriesFor = (type: string) => {
    let found = byType.get(type);
    if (!found) {
      budget.reserve(CHUNK_ROWS * (ROW_BYTES + CODE_BYTES * paths.length));
      found = new FetchedSeries({ id: byType.size + 1, kind: 'analytics', name: type }, paths.length, budget);
      byType.set(type, found);
    }
    return found;
  };
  // a series without matching rows, too, has an extent
  for (const type of types ?? ['']) seriesFor(type);
  const blocks = connection.rows(
    sql`SELECT seq, happened_at, user_id, type, data_index, data FROM ${uniqueRows('analytics')}
      WHERE ${every([conditionOf(connection, 'analytics', { names: types, user, from, to, labels }), condition ?? sql`1`])}
      ORDER BY seq, node`,
    { seq: 'integer', time: 'integer', user: 'text', type: 'text', label: 'text', data: 'text' },
  );
  for await (const block of blocks) {
    budget.check();
    for (const row of block) {
      const data = parseData(row.data);
      if (!hasData(data)) continue;
      const series = seriesFor(row.type);
      const label = labelTexts.add(labelKey(series.series, row.label), row.label);
      const values = paths.map((path) => propertyOf(data, path));
      series.add(row.time, users.add(row.user, row.user), label, row.seq, values);
    }
  }
  const seriesOf = () => [...byType.values()].map(({ series }) => series);
  return {
    user: (userId) => users.find(userId),
    get userLimit() {
      return users.texts.length;
    },
    get labelLimit() {
      return labelTexts.texts.length;
    },
    find: (_kind, name) => byType.get(name)?.series,
    seriesOf,
    seriesWith: seriesOf,
    extent: () => extent, // of all series, which is all that a query needs
    *outlines({ name }) {
      yield* byType.get(name)?.outlines() ?? [];
    },
    sourceOfUser: () => undefined,
    label: (series, text) => labelTexts.find(labelKey(series, text)),
    *labelsOf({ id }) {
      for (const [number, text] of labelTexts.texts.entries()) {
        if (labelTexts.find(labelKey({ id }, text)) === number) yield { number, text };
      }
    },
    labelText: (number) => labelTexts.texts[number] ?? '',
    *readProperties({ series, memtablePart = 0, chunk }) {
      yield { chunk, columns: byType.get(series.name)?.columnsOf(memtablePart, chunk.rows) ?? [] };
    },
    valueHashes: (value) => valueHashes(value, hashText),
  };
}

/** Labels of different series have different numbers. */
function labelKey({ id }: Pick<Series, 'id'>, text: string): string {
  return `${id} ${text}`;
}

const HASH_MASK = (1n << 53n) - 1n;

function hashText(text: string, scope = 0): number {
  return Number(Bun.hash.xxHash3(text, BigInt(scope) & HASH_MASK) & HASH_MASK);
}
