import { AnnotateButton } from '../boards/annotate.tsx';
import { PinButton } from '../boards/pin-button.tsx';
import { useNavigation } from '../navigation.ts';
import { AddFilter, FilterChips } from './filters.tsx';
import { Options, VIEW_CONTROLS } from './options.tsx';
import { RangeControl } from './range-control.tsx';

/** The controls that the current view uses: its range, its filters, and everything else behind one button. */
export function ControlBar({ canSeeAllUsers, isZoneLoaded }: { canSeeAllUsers: boolean; isZoneLoaded: boolean }) {
  const { address } = useNavigation();
  const { hasRange } = VIEW_CONTROLS[address.view];
  // the list of boards has no charts
  const isRangeUsed = hasRange && (address.view !== 'boards' || address.board !== undefined);
  return (
    <section class="controls" aria-label="Controls">
      {isZoneLoaded && isRangeUsed && <RangeControl />}
      <AddFilter />
      <FilterChips />
      {isZoneLoaded && <AnnotateButton />}
      {isZoneLoaded && <PinButton />}
      <Options canSeeAllUsers={canSeeAllUsers} />
    </section>
  );
}
