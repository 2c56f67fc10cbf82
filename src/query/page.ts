import { QueryTooLargeError } from './budget.ts';

/** Largest page of records, in bytes of JSON, unless a single record is larger. */
const MAX_BYTES = 8 * 1024 * 1024;
/** Bytes of a page beside its records: names, brackets and the cursor. */
const FRAME_BYTES = 64;

/** A page of records that is being put together. */
export interface PageOfRecords {
  /** The records as JSON. */
  readonly records: string[];
  /** Bytes that are left; 0 or less if the page is full. */
  room(): number;
  /**
   * Adds records that must be on the same page, if there is room for them. An empty page has room for records of any size
   * that a result may have.
   *
   * @returns whether they were added
   * @throws {QueryTooLargeError} if they do not fit in a result
   */
  add(records: readonly string[]): boolean;
}

/**
 * Creates an empty page.
 *
 * @param maxResultBytes the largest result
 */
export function createPage(maxResultBytes: number): PageOfRecords {
  const records: string[] = [];
  const largest = maxResultBytes - FRAME_BYTES;
  const limit = Math.min(MAX_BYTES - FRAME_BYTES, largest);
  let bytes = 0;
  return {
    records,
    room: () => limit - bytes,
    add(added) {
      const addedBytes = added.reduce((sum, record) => sum + Buffer.byteLength(record) + 1, 0);
      if (records.length > 0 && bytes + addedBytes > limit) return false;
      if (addedBytes > largest) throw new QueryTooLargeError(`a record is larger than ${maxResultBytes} bytes`);
      records.push(...added);
      bytes += addedBytes;
      return true;
    },
  };
}
