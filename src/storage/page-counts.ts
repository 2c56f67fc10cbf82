import type { Database } from 'bun:sqlite';

/** The pages of a database file. */
export interface PageCounts {
  /** Size of the pages that are free and that new rows reuse, in bytes. */
  readonly reusableBytes: number;
}

/** Reads how much of a database file is free. Takes a few microseconds: SQLite counts the pages in its header. */
export function readPageCounts(client: Database): PageCounts {
  const found = client
    .query<{ reusableBytes: number }, []>(
      'SELECT freelist_count * page_size AS reusableBytes FROM pragma_freelist_count, pragma_page_size',
    )
    .get();
  return { reusableBytes: found?.reusableBytes ?? 0 };
}
