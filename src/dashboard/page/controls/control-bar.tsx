import { AnnotateButton } from '../boards/annotate.tsx';
import { PinButton } from '../boards/pin-button.tsx';
import { useNavigation } from '../navigation.ts';
import { AddFilter, FilterChips } from './filters.tsx';
import { LinkButton } from './link-button.tsx';
import { Options } from './options.tsx';
import { RangeControl } from './range-control.tsx';
import { controlsOf } from './view-controls.ts';

/** The controls that the current view uses: its range, its filters, and everything else behind one button. */
export function ControlBar({ canSeeAllUsers, isZoneLoaded }: { canSeeAllUsers: boolean; isZoneLoaded: boolean }) {
  const { address } = useNavigation();
  return (
    <section class="controls" aria-label="Controls">
      {isZoneLoaded && controlsOf(address).hasRange && <RangeControl />}
      <AddFilter />
      <FilterChips />
      <div class="actions">
        {isZoneLoaded && <AnnotateButton />}
        {isZoneLoaded && <PinButton />}
        {isZoneLoaded && <LinkButton />}
        <Options canSeeAllUsers={canSeeAllUsers} />
      </div>
    </section>
  );
}
