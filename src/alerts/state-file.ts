import { readFileSync } from 'node:fs';
import fs from 'node:fs/promises';
import { dirname } from 'node:path';
import { giveToFolderOwner } from '../file-owner.ts';
import type { AlertEntry } from './tracker.ts';

/*
 * The alerts that survive a restart: a JSON file next to the database. It can contain names of metrics and event types.
 */

const FORMAT = 1;

/** Returns the path of the alerts of a database. */
export function alertsPath(databasePath: string): string {
  return `${databasePath}.alerts`;
}

/**
 * Reads the alerts of the last run.
 *
 * @throws {Error} if the file cannot be read, or was not written by {@link saveAlerts}
 */
export function loadAlerts(path: string): AlertEntry[] {
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return [];
    throw error;
  }
  const content: unknown = JSON.parse(text);
  const { format, alerts } = (content ?? {}) as { format?: unknown; alerts?: unknown };
  if (format !== FORMAT || !Array.isArray(alerts) || !alerts.every(isEntry)) {
    throw new Error('the alerts of the last run are in an unknown format');
  }
  return alerts;
}

function isEntry(value: unknown): value is AlertEntry {
  const entry = (value ?? {}) as Partial<Record<keyof AlertEntry, unknown>>;
  const { alert, key, status, since, at, summary, details, notifiedAt } = entry;
  return (
    [alert, key, summary].every((text) => typeof text === 'string') &&
    (status === 'firing' || status === 'resolved') &&
    [since, at].every((time) => typeof time === 'number') &&
    (notifiedAt === null || typeof notifiedAt === 'number') &&
    typeof details === 'object' &&
    details !== null
  );
}

/**
 * Replaces the file, without blocking the event loop. Either the old or the new content survives a crash. Not to be called
 * again before it is done.
 */
export async function saveAlerts(path: string, alerts: readonly AlertEntry[]): Promise<void> {
  const folder = dirname(path);
  const draft = `${path}.new`;
  await fs.rm(draft, { force: true }); // left by a crash
  const file = await fs.open(draft, 'wx', 0o600);
  try {
    await giveToFolderOwner(file, folder);
    await file.writeFile(JSON.stringify({ format: FORMAT, alerts }));
    await file.sync();
  } finally {
    await file.close();
  }
  await fs.rename(draft, path);
  const entries = await fs.open(folder, 'r');
  try {
    await entries.sync();
  } finally {
    await entries.close();
  }
}
