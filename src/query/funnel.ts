import type { Funnel as FunnelResult } from '../responses.ts';
import { seqsOf } from '../storage/columns/chunk.ts';
import type { Budget } from './budget.ts';
import { type EventStep, labelOfStep, seriesOfSteps } from './event-step.ts';
import { bytesPerEvent, Events, FunnelTally } from './funnel-attempts.ts';
import type { RowStore } from './row-store.ts';
import { type RowQuery, rangeOf, type SelectedChunk, type Selection, select } from './selection.ts';

/** A query for conversion through a sequence of steps. */
export interface FunnelQuery extends RowQuery {
  /** The event type of all steps as sent; undefined: each step names its type. */
  readonly type: string | undefined;
  /** The steps in order, at most {@link MAX_STEPS}. */
  readonly steps: readonly EventStep[];
  /** The conversion window: the longest time from the first step to the last, in seconds. */
  readonly within: number;
}

/** Maximum number of steps, since the steps that an event matches are bits of one integer. */
export const MAX_STEPS = 20;

/** How much memory a funnel uses for events. */
export interface FunnelMemory {
  /** Memory for the events of one part of the users, unless a single user has more. */
  readonly partBytes: number;
  /** The most events that are kept while they are counted, so that the chunks are scanned only once. */
  readonly keptEvents: number;
}

/** 144 MB per part, and 6 MB of kept events. The rest is for the times between steps. */
const MEMORY: FunnelMemory = { partBytes: 144 * 1024 * 1024, keptEvents: 2 ** 18 };

/**
 * Counts the users who reach each step of a funnel. An attempt starts with an event of the first step and continues
 * with the earliest later event of each next step, up to `within` after the start. Of a user's attempts, the longest
 * counts; among equally long ones, the first. Events in the same microsecond are in commit order, also across types.
 *
 * One scan of the chunks counts the events per user. If there are too many to keep, users are processed in parts whose
 * events fit in memory, with another scan per part.
 *
 * @throws {QueryTooLargeError} if the events of a single user, or the times between steps, do not fit in memory
 */
export function funnel(
  store: RowStore,
  query: FunnelQuery,
  budget: Budget,
  { partBytes, keptEvents } = MEMORY,
): FunnelResult {
  const { type, steps, within } = query;
  const seriesList = seriesOfSteps(store, steps);
  const selection = select(store, seriesList, query, budget);
  const matching = matchingOf(store, steps);
  const hasSeqs = seriesList.length > 1; // the rows of one series are read in commit order
  const kept = new KeptEvents(keptEvents, hasSeqs, budget);
  const counts = countByUser(selection, matching, kept, store.userLimit, budget);
  const parts = splitUsers(counts, Math.floor(partBytes / bytesPerEvent(steps.length, hasSeqs)));
  const largestPart = parts.reduce((most, { size }) => Math.max(most, size), 0);
  const mostOfUser = counts.reduce((most, count) => Math.max(most, count), 0);
  const events = new Events(largestPart, mostOfUser, steps.length, hasSeqs, budget);

  const tally = new FunnelTally(steps.length, within * 1e6, budget);
  for (const part of parts) {
    beginPart(part, counts);
    const add = (user: number, time: number, matched: number, seq: number) =>
      events.add((counts[user] as number)++, time, matched, seq);
    if (kept.isComplete) kept.forEach(part, add);
    else forEachEvent(selection, matching, part, () => hasSeqs, add);
    for (const order of ordersByUser(part, counts, events, budget)) tally.addUser(order, events);
  }

  return {
    type: type ?? null,
    ...rangeOf(selection, query, 'UTC'),
    within_seconds: within,
    steps: tally.result(steps),
  };
}

/** Which steps a row matches, as bits: bit n for step n. */
interface Matching {
  /** The steps that match any row of a series, by series ID. */
  readonly bySeries: ReadonlyMap<number, number>;
  /** The steps that match rows with a label, by label number. Different series have different label numbers. */
  readonly byLabel: ReadonlyMap<number, number>;
}

function matchingOf(store: RowStore, steps: readonly EventStep[]): Matching {
  const bySeries = new Map<number, number>();
  const byLabel = new Map<number, number>();
  steps.forEach((step, i) => {
    const label = labelOfStep(store, step);
    const [map, key] = label < 0 ? [bySeries, store.find('analytics', step.type)?.id ?? 0] : [byLabel, label];
    map.set(key, (map.get(key) ?? 0) | (1 << i));
  });
  return { bySeries, byLabel };
}

/** Called for each event that matches a step. `steps` are bits; `seq` is 0 if it is not needed. */
type VisitEvent = (user: number, time: number, steps: number, seq: number) => void;

/** Returns the number of matching events by user number, and keeps the events. */
function countByUser(
  selection: Selection,
  matching: Matching,
  kept: KeptEvents,
  userLimit: number,
  budget: Budget,
): Uint32Array {
  budget.reserve(4 * userLimit);
  const counts = new Uint32Array(userLimit);
  const everyone = { firstUser: 0, endUser: userLimit };
  forEachEvent(
    selection,
    matching,
    everyone,
    () => kept.hasSeqs && kept.isComplete,
    (user, time, steps, seq) => {
      (counts[user] as number)++;
      kept.add(user, time, steps, seq);
    },
  );
  return counts;
}

/** A copy of the matching events, in the order in which they are read. Empty if there are too many. */
class KeptEvents {
  readonly hasSeqs: boolean;
  /** Whether all events are kept. */
  isComplete = true;
  readonly #budget: Budget;
  #size = 0;
  #users = new Uint32Array();
  #times = new Float64Array();
  #steps = new Uint32Array();
  #seqs = new Float64Array();

  constructor(capacity: number, hasSeqs: boolean, budget: Budget) {
    this.hasSeqs = hasSeqs;
    this.#budget = budget;
    this.#allocate(capacity);
  }

  #allocate(capacity: number): void {
    this.#budget.reserve((4 + 8 + 4 + 8) * (capacity - this.#users.length));
    this.#users = new Uint32Array(capacity);
    this.#times = new Float64Array(capacity);
    this.#steps = new Uint32Array(capacity);
    this.#seqs = new Float64Array(capacity);
  }

  add(user: number, time: number, steps: number, seq: number): void {
    if (!this.isComplete) return;
    const index = this.#size++;
    if (index === this.#users.length) {
      this.isComplete = false;
      this.#allocate(0);
      return;
    }
    this.#users[index] = user;
    this.#times[index] = time;
    this.#steps[index] = steps;
    this.#seqs[index] = seq;
  }

  /** Calls `visit` for each event of some users. All events must have been kept. */
  forEach({ firstUser, endUser }: UserRange, visit: VisitEvent): void {
    for (let i = 0; i < this.#size; i++) {
      const user = this.#users[i] as number;
      if (user < firstUser || user >= endUser) continue;
      visit(user, this.#times[i] as number, this.#steps[i] as number, this.#seqs[i] as number);
    }
  }
}

/** A range of user numbers. */
interface UserRange {
  readonly firstUser: number;
  /** Exclusive. */
  readonly endUser: number;
}

/** A part of the users. */
interface Part extends UserRange {
  /** The number of their events. */
  readonly size: number;
}

/**
 * Splits the users into parts.
 *
 * @param counts the number of events by user number
 * @param maxSize the most events in a part, unless a single user has more
 */
function splitUsers(counts: Uint32Array, maxSize: number): Part[] {
  const parts: Part[] = [];
  let firstUser = 0;
  let size = 0;
  counts.forEach((count, user) => {
    if (size > 0 && size + count > maxSize) {
      parts.push({ firstUser, endUser: user, size });
      firstUser = user;
      size = 0;
    }
    size += count;
  });
  if (size > 0) parts.push({ firstUser, endUser: counts.length, size });
  return parts;
}

/**
 * Prepares the place of each user's events in a part.
 *
 * @param counts the number of events by user number; for the users of the part, replaced by the start of their events
 */
function beginPart({ firstUser, endUser }: Part, counts: Uint32Array): void {
  for (let user = firstUser, start = 0; user < endUser; user++) {
    const count = counts[user] as number;
    counts[user] = start;
    start += count;
  }
}

/**
 * Calls `visit` for each selected event of some users that matches a step.
 *
 * @param needsSeqs returns whether `visit` needs the `seq`, which takes time to decode; called once per chunk
 */
function forEachEvent(
  { from, to, user, labelMask, chunks }: Selection,
  { bySeries, byLabel }: Matching,
  range: UserRange,
  needsSeqs: () => boolean,
  visit: VisitEvent,
): void {
  // the low bits rule out most labels, faster than the map
  const mayMatch = new Uint8Array(1024);
  for (const label of byLabel.keys()) mayMatch[label & 1023] = 1;
  for (const chunk of chunks()) {
    const ofSeries = bySeries.get(chunk.series.id) ?? 0;
    visitEvents(chunk, { from, to, user, labelMask }, { ofSeries, byLabel, mayMatch }, range, needsSeqs(), visit);
  }
}

/** Which steps the rows of a chunk match. */
interface ChunkMatching extends Pick<Matching, 'byLabel'> {
  /** The steps that match any row. */
  readonly ofSeries: number;
  /** By the low bits of a label: 1 if a step may match it. */
  readonly mayMatch: Uint8Array;
}

/** Does what {@link forEachEvent} does for one chunk. A function, because loops in functions that run rarely are compiled late. */
function visitEvents(
  chunk: SelectedChunk,
  { from, to, user, labelMask }: Pick<Selection, 'from' | 'to' | 'user' | 'labelMask'>,
  { ofSeries, byLabel, mayMatch }: ChunkMatching,
  { firstUser, endUser }: UserRange,
  hasSeqs: boolean,
  visit: VisitEvent,
): void {
  const { times, users, labels, dataMask } = chunk;
  let seqs: Float64Array | undefined;
  for (let i = 0; i < labels.length; i++) {
    const label = labels[i] as number;
    const steps = mayMatch[label & 1023] === 0 ? ofSeries : ofSeries | (byLabel.get(label) ?? 0);
    if (steps === 0 || (labelMask && labelMask[label] === 0) || dataMask?.[i] === 0) continue;
    const time = times[i] as number;
    const userOfRow = users[i] as number;
    if (time < from || time >= to || (user >= 0 && userOfRow !== user)) continue;
    if (userOfRow < firstUser || userOfRow >= endUser) continue;
    if (hasSeqs) seqs ??= seqsOf(chunk);
    visit(userOfRow, time, steps, seqs ? (seqs[i] as number) : 0);
  }
}

/**
 * Yields the indices of each user's events. The same buffer is used for all users.
 *
 * @param ends the end of each user's events, by user number
 */
function* ordersByUser(
  { firstUser, endUser }: Part,
  ends: Uint32Array,
  events: Events,
  budget: Budget,
): Generator<Uint32Array> {
  for (let user = firstUser, start = 0; user < endUser; user++) {
    if (user % 1024 === 0) budget.check();
    const end = ends[user] as number;
    if (end === start) continue;
    const order = events.order.subarray(0, end - start);
    for (let i = 0; start < end; i++, start++) order[i] = start;
    yield order;
  }
}
