import type { ColumnStore } from '../storage/columns/column-store.ts';

/** What the queries of rows read: the column store, or rows that were fetched from another engine. */
export type RowStore = Pick<
  ColumnStore,
  | 'user'
  | 'userLimit'
  | 'find'
  | 'seriesOf'
  | 'seriesWith'
  | 'extent'
  | 'outlines'
  | 'sourceOfUser'
  | 'label'
  | 'labelsOf'
  | 'labelText'
  | 'labelLimit'
  | 'readProperties'
  | 'valueHashes'
>;
