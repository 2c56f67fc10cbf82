import { createHash } from 'node:crypto';
import type { Kind } from '../../records.ts';

/** Hexadecimal digits of a user's hash in a subject: 4,096 subjects per kind, however many users there are. */
const HASH_DIGITS = 3;

/**
 * Returns the subject of a user's rows: `STREAM.metric.HASH` or `STREAM.analytics.HASH`. An erasure reads only the messages
 * of this subject. Few users share one; a subject per user would take memory of the server for each.
 */
export function subjectOf(stream: string, kind: Kind, userId: string): string {
  return `${stream}.${kind}.${createHash('sha256').update(userId).digest('hex').slice(0, HASH_DIGITS)}`;
}

/** Returns whether one of a stream's subjects, which may have wildcards, covers all subjects of a kind. */
export function isCovered(subjects: readonly string[], subject: string): boolean {
  const tokens = subject.split('.');
  return subjects.some((pattern) => {
    const parts = pattern.split('.');
    for (const [i, token] of tokens.entries()) {
      if (parts[i] === '>') return true;
      // a pattern for a single hash does not cover the others
      if (parts[i] !== '*' && (parts[i] !== token || i === tokens.length - 1)) return false;
    }
    return parts.length === tokens.length;
  });
}
