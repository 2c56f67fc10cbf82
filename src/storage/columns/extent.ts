/** A number of rows, with their earliest and latest time in microseconds since 1970. */
export interface Extent {
  readonly rows: number;
  readonly minTime: number;
  readonly maxTime: number;
}

/** Returns the combined extent of several parts; undefined if none has rows. */
export function extentOfAll(parts: readonly (Extent | undefined)[]): Extent | undefined {
  return parts.reduce<Extent | undefined>(
    (sum, part) =>
      part
        ? {
            rows: (sum?.rows ?? 0) + part.rows,
            minTime: Math.min(sum?.minTime ?? Number.POSITIVE_INFINITY, part.minTime),
            maxTime: Math.max(sum?.maxTime ?? Number.NEGATIVE_INFINITY, part.maxTime),
          }
        : sum,
    undefined,
  );
}
