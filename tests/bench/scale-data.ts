import { closeSync, existsSync, fsyncSync, openSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { createIdSource } from '../../src/ingest/ids.ts';
import { openStorage } from '../../src/storage/database.ts';
import { addToLedger, STORED } from '../../src/storage/ledger.ts';
import { formOf } from '../../src/storage/row-form.ts';

/** Rows per transaction: enough to make the cost of a commit negligible. */
const BATCH = 20_000;
/** Pairs of user and name kept in memory to store each only once, below the maximum size of a Set. */
const MAX_KNOWN_PAIRS = 8_000_000;
/** Usual length of a data set. */
const DAYS = 360;
/** Fraction of the rows that are metrics. */
const METRIC_SHARE = 0.6;

/** A data set. Times are milliseconds since 1970. */
export interface DataSet {
  readonly rows: number;
  /** Number of metric names, and of event types. */
  readonly names: number;
  readonly labels: number;
  readonly users: number;
  /** When the first row was received. */
  readonly from: number;
  /** Just after the last row was received. */
  readonly to: number;
}

/** Numbers of names, labels and users. */
export const CARDINALITY = {
  usual: { names: 20, labels: 300, users: 50_000 },
  high: { names: 5_000, labels: 100_000, users: 1_000_000 },
} as const;

export const metricName = (rank: number) => `metric_name_${rank}`;
export const eventType = (rank: number) => `event_type_${rank}`;
const label = (rank: number) => `/path/to/page/${rank}`;

/** Returns the ID of the user of a rank: a UUID, as most products have. */
export function userId(rank: number): string {
  const hex = Bun.hash.xxHash3(String(rank)).toString(16).padStart(16, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8, 12)}-4${hex.slice(13, 16)}-8${hex.slice(1, 4)}-${rank.toString(16).padStart(12, '0')}`;
}

/**
 * Returns the rank of the user who has about this many rows.
 *
 * The rank r of n, counted from 0, is drawn with floor(n * u²), so its share of the rows is √((r + 1) / n) - √(r / n).
 */
export function rankWithRows({ rows, users }: DataSet, userRows: number): number {
  return Math.min(users - 1, Math.max(1, Math.round((rows / (2 * userRows)) ** 2 / users)));
}

/** Returns the data set in a folder; undefined if there is none. */
export function existingDataSet(dataDir: string): DataSet | undefined {
  const path = join(dataDir, 'data-set.json');
  return existsSync(path) ? (JSON.parse(readFileSync(path, 'utf8')) as DataSet) : undefined; // written by fillScale
}

/**
 * Creates a database with a data set of some days up to now, in which rows happened when they were received. The tables
 * of recording have the content that recording would have stored: rows with real IDs, the names of each user, and the
 * ledger. Names, labels and users are drawn independently, skewed as described for {@link rankWithRows}.
 */
export function fillScale(
  dataDir: string,
  { days = DAYS, ...size }: Pick<DataSet, 'rows' | 'names' | 'labels' | 'users'> & { readonly days?: number },
): DataSet {
  const path = join(dataDir, 'rawlog.db');
  const to = Date.now();
  const dataSet = { ...size, from: to - days * 86_400_000, to };
  const { client, hash, close } = openStorage(path);
  // losing this database does no harm, so it is synced only once, at the end
  client.run('PRAGMA synchronous = OFF');
  client.run('PRAGMA cache_size = -200000');
  const columns = '(?, ?, ?, ?, ?, ?, ?, ?)';
  const insertMetric = client.prepare(`INSERT INTO metrics VALUES ${columns}`);
  const insertEvent = client.prepare(`INSERT INTO analytics VALUES ${columns}`);
  const insertName = client.prepare('INSERT OR IGNORE INTO user_names (user_hash, name_hash) VALUES (?, ?)');
  const texts = (count: number, text: (rank: number) => string) => Array.from({ length: count }, (_, i) => text(i));
  const users = texts(size.users, userId);
  const labels = texts(size.labels, label);
  const metricNames = texts(size.names, metricName);
  const eventTypes = texts(size.names, eventType);
  const nameHashes = [...metricNames.map((name) => hash(name, 1)), ...eventTypes.map((name) => hash(name, 2))];

  const random = createRandom();
  const rank = (count: number) => {
    const u = random();
    return Math.floor(count * u * u);
  };
  let clock = dataSet.from;
  const nextId = createIdSource(() => clock, 0);
  const stepMs = (to - dataSet.from) / size.rows;
  const known = new Set<number>();
  for (let row = 0; row < size.rows; ) {
    client.run('BEGIN IMMEDIATE');
    const start = row;
    for (const end = Math.min(row + BATCH, size.rows); row < end; row++) {
      clock = dataSet.from + Math.floor(row * stepMs);
      const stamp = nextId();
      const { seq } = stamp;
      const { id, happenedAt, receivedAt } = formOf({ ...stamp, happenedAt: clock * 1000, receivedAt: clock * 1000 });
      const userRank = rank(size.users);
      const nameRank = rank(size.names);
      const user = users[userRank] as string;
      const text = labels[rank(size.labels)] as string;
      const isMetric = random() < METRIC_SHARE;
      if (isMetric) {
        const value = Math.round(1e6 * random() ** 3) / 1000;
        insertMetric.run(seq, id, user, happenedAt, receivedAt, metricNames[nameRank] as string, value, text);
      } else {
        const type = eventTypes[nameRank] as string;
        insertEvent.run(seq, id, user, happenedAt, receivedAt, type, text, eventData(random));
      }
      const name = isMetric ? nameRank : size.names + nameRank;
      const pair = userRank * 2 * size.names + name;
      if (known.has(pair)) continue;
      if (known.size === MAX_KNOWN_PAIRS) known.clear();
      known.add(pair);
      insertName.run(hash(user), nameHashes[name] as number);
    }
    addToLedger(client, STORED, row - start);
    client.run('COMMIT');
  }
  close();
  const file = openSync(path, 'r+');
  fsyncSync(file);
  closeSync(file);
  writeFileSync(join(dataDir, 'data-set.json'), JSON.stringify(dataSet));
  return dataSet;
}

const PLANS = ['free', 'pro', 'team'];

/** Returns the data of an event, about 80 bytes. */
function eventData(random: () => number): string {
  return JSON.stringify({
    plan: PLANS[Math.floor(3 * random())],
    page: `/page/${Math.floor(1_000 * random())}`,
    step: Math.floor(20 * random()),
    price: Math.floor(10_000 * random()) / 100,
    completed: random() < 0.5,
  });
}

/** Creates a source of pseudorandom numbers from 0 to below 1, the same in each run (mulberry32). */
function createRandom(): () => number {
  let state = 1;
  return () => {
    state = (state + 0x6d2b79f5) | 0;
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state);
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed;
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
