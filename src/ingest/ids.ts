import { getRandomValues } from 'node:crypto';
import { CLOCK_LIMIT, COUNTER_RANGE, millisecondOf, SEQ_EPOCH } from '../storage/record-id.ts';
import { encodeRandomPart } from '../storage/row-form.ts';

const COUNTER_HEX = Array.from({ length: COUNTER_RANGE }, (_, value) => value.toString(16).padStart(3, '0'));

/** The ID of a record and its clustered key. */
export interface RecordId {
  readonly id: string;
  /** The time part of the ID as a number: (milliseconds since 2020-01-01) * 4096 + counter. */
  readonly seq: number;
  /** The random part of the ID, as rows store it: see storage/row-form.ts. */
  readonly randomPart: string;
}

/**
 * Creates a source of record IDs: UUIDv7 with a 12-bit counter in `rand_a` (RFC 9562, section 6.2, method 1) and 62
 * random bits. Every ID is greater than all previous ones, even when the clock steps back, after a restart, with more
 * than 4,096 IDs per millisecond (they run ahead of the clock), and while the clock is beyond {@link CLOCK_LIMIT} (they
 * count up from the last ID).
 *
 * @param now returns the time in milliseconds since 1970
 * @param lastSeq the highest `seq` in use
 */
export function createIdSource(now: () => number, lastSeq: number): () => RecordId {
  let millisecond = millisecondOf(lastSeq);
  let counter = lastSeq % COUNTER_RANGE;
  let prefix = timePrefix(millisecond);
  // generate the random bytes of many IDs at once; each ID then needs only one native call for its hex digits
  const random = Buffer.alloc(8 * 1024);
  let offset = random.length;

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
    if (offset === random.length) {
      getRandomValues(random);
      offset = 0;
    }
    random[offset] = ((random[offset] as number) & 0x3f) | 0x80; // the variant: binary 10
    const randomHex = random.toString('hex', offset, offset + 8);
    const randomPart = encodeRandomPart(random.readUInt32BE(offset), random.readUInt32BE(offset + 4));
    offset += 8;
    return {
      id: `${prefix}-7${COUNTER_HEX[counter]}-${randomHex.slice(0, 4)}-${randomHex.slice(4)}`,
      seq: (millisecond - SEQ_EPOCH) * COUNTER_RANGE + counter,
      randomPart,
    };
  };
}

/** Returns the first two groups of a UUIDv7: its 48 bits of time. */
function timePrefix(millisecond: number): string {
  const hex = millisecond.toString(16).padStart(12, '0');
  return `${hex.slice(0, 8)}-${hex.slice(8)}`;
}
