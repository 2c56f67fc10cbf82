import type { Kind } from '../../records.ts';

/** A metric name or an event type, with its number. */
export interface Series {
  readonly id: number;
  readonly kind: Kind;
  readonly name: string;
}
