import { type Range, useZone } from '../calendar.ts';
import { useCatalog } from '../catalog.ts';
import { formatTime } from '../format.ts';
import { useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';

/** Returns the period that the address compares with; undefined if it compares with none, or recording began later. */
export function useComparedPeriod(): Range | undefined {
  const { address } = useNavigation();
  const { previous } = useShownRange();
  const { extent } = useCatalog();
  const isBefore = extent.from !== undefined && extent.from >= previous.to;
  return address.compare === undefined || isBefore ? undefined : previous;
}

/** Says why there is no comparison, if the address asks for one. */
export function NothingBefore() {
  const { address } = useNavigation();
  const { extent } = useCatalog();
  const zone = useZone();
  const period = useComparedPeriod();
  if (address.compare === undefined || period || !extent.from) return null;
  return (
    <p class="quiet">
      Recording began on {formatTime(extent.from, zone, 'minute')}, so there is no earlier period to compare with.
    </p>
  );
}
