import type { Database } from 'bun:sqlite';
import { assertChanges } from './storage-error.ts';

/** Maximum number of metrics with a unit. */
export const MAX_UNITS = 1_000;

/** Which values of a metric are better. */
export type Better = 'lower' | 'higher';

/** The unit of a metric. */
export interface StoredUnit {
  readonly name: string;
  readonly unit: string;
  /** Null if neither lower nor higher values are better. */
  readonly better: Better | null;
}

/** The units of a database. Functions that change it run in the caller's transaction and return the changed rows. */
export interface UnitStore {
  /** Returns all units, sorted by name in UTF-8. */
  list(): StoredUnit[];
  find(name: string): StoredUnit | undefined;
  isFull(): boolean;
  /** Sets the unit of a metric. */
  set(unit: StoredUnit): number;
  remove(name: string): number;
}

/** Opens the units of a database. */
export function openUnitStore(client: Database): UnitStore {
  const all = client.prepare<StoredUnit, []>(
    'SELECT name, unit, better FROM metric_units WHERE name IS NOT NULL ORDER BY name',
  );
  const findRow = client.prepare<StoredUnit, [string]>('SELECT name, unit, better FROM metric_units WHERE name = ?');
  const count = client.prepare<{ n: number }, []>('SELECT count(*) AS n FROM metric_units WHERE name IS NOT NULL');
  const insertRow = client.prepare('INSERT INTO metric_units (unit, better, name) VALUES (?, ?, ?)');
  const blank = client.prepare("UPDATE metric_units SET unit = '', better = NULL, name = NULL WHERE name = ?");

  return {
    list: () => all.all(),
    find: (name) => findRow.get(name) ?? undefined,
    isFull: () => (count.get()?.n ?? 0) >= MAX_UNITS,
    set({ name, unit, better }) {
      const blanked = blank.run(name).changes;
      const { changes } = insertRow.run(unit, better, name);
      assertChanges(changes, 1);
      return blanked + changes;
    },
    remove: (name) => blank.run(name).changes,
  };
}
