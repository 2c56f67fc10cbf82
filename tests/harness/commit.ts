import type { Commit } from '../../src/storage/writer.ts';

/** An empty commit; tests add the parts that they store. */
export const NOTHING: Commit = { records: [], responses: [], names: [], counts: [] };
