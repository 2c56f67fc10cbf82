import { useMemo } from 'preact/hooks';
import { propertyPaths } from '../../controls/property-paths.ts';
import { useNavigation } from '../../navigation.ts';
import { useShownRange } from '../../shown-range.ts';
import { useQuery } from '../../use-query.ts';

/** Number of events whose properties are offered. */
const SAMPLED = 50;

type Path = `data.${string}`;

/** Properties of the latest events of a type, most frequent first. Others can be typed. */
export interface Properties {
  readonly all: readonly Path[];
  /** Those with numbers, which can be summed. */
  readonly numeric: readonly Path[];
}

/** Returns the properties of the latest events of a type; none until they have loaded. */
export function useProperties(type: string | undefined): Properties {
  const { address } = useNavigation();
  const { from, to } = useShownRange();
  const { user, range } = address;
  // not again on every refresh, because properties rarely change
  // biome-ignore lint/correctness/useExhaustiveDependencies: relative ranges move with every refresh
  const parameters = useMemo(
    () => (type === undefined ? undefined : { type, from, to, user_id: user, limit: SAMPLED }),
    [type, user, range, address.from, address.to],
  );
  const { value } = useQuery('/api/records/analytics', parameters, JSON.stringify([type, user]), true);
  return useMemo(() => {
    const data = value?.records.map((record) => record.data) ?? [];
    return { all: propertyPaths(data), numeric: propertyPaths(data.map(numbersOf)) };
  }, [value]);
}

/** Returns data without anything but numbers. */
function numbersOf(value: unknown): unknown {
  const isExactNumber = typeof JSON.isRawJSON === 'function' && JSON.isRawJSON(value);
  if (typeof value === 'number' || isExactNumber) return value;
  if (typeof value !== 'object' || value === null || Array.isArray(value)) return null;
  return Object.fromEntries(Object.entries(value).map(([key, inner]) => [key, numbersOf(inner)]));
}
