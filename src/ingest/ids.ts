import { getRandomValues } from 'node:crypto';
import { CLOCK_LIMIT, COUNTER_RANGE, millisecondOf, SEQ_EPOCH } from '../storage/record-id.ts';

const COUNTER_HEX = Array.from({ length: COUNTER_RANGE }, (_, value) => value.toString(16).padStart(3, '0'));

/** A record's id and its clustered key. */
export interface RecordId {
  readonly id: string;
  /** (milliseconds since 2020-01-01) * 4096 + counter: the time part of the id as a number. */
  readonly seq: number;
}

/**
 * Makes record ids: UUIDv7 with a 12-bit counter in `rand_a` (RFC 9562, section 6.2, method 1), and
 * 62 random bits. Each id is above all before it, also when the clock steps back, when more than
 * 4,096 fall into one millisecond (they then run ahead of the clock), after a restart, and while the
 * clock is beyond {@link CLOCK_LIMIT} (they then count on from the last ID).
 *
 * @param now the clock, in milliseconds since 1970
 * @param lastSeq the highest `seq` that is already taken
 */
export function createIdSource(now: () => number, lastSeq: number): () => RecordId {
  let millisecond = millisecondOf(lastSeq);
  let counter = lastSeq % COUNTER_RANGE;
  let prefix = timePrefix(millisecond);
  // random bytes are drawn for many ids at once, and written as hex by one native call an id
  const random = Buffer.alloc(8 * 1024);
  let used = random.length;

  return () => {
    const time = now();
    if (time > millisecond && time < CLOCK_LIMIT) {
      millisecond = time;
      counter = 0;
      prefix = timePrefix(millisecond);
    } else if (++counter === COUNTER_RANGE) {
      millisecond++;
      counter = 0;
      prefix = timePrefix(millisecond);
    }
    if (used === random.length) {
      getRandomValues(random);
      used = 0;
    }
    random[used] = ((random[used] as number) & 0x3f) | 0x80; // the variant: binary 10
    const tail = random.toString('hex', used, used + 8);
    used += 8;
    return {
      id: `${prefix}-7${COUNTER_HEX[counter]}-${tail.slice(0, 4)}-${tail.slice(4)}`,
      seq: (millisecond - SEQ_EPOCH) * COUNTER_RANGE + counter,
    };
  };
}

/** The 48 bits of time of a UUIDv7 as its first two groups. */
function timePrefix(millisecond: number): string {
  const hex = millisecond.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
}
