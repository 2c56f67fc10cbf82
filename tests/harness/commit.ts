import type { Commit } from '../../src/storage/writer.ts';

/** A commit that stores nothing: tests add what they store. */
export const NOTHING: Commit = { records: [], responses: [], names: [], counts: [] };
