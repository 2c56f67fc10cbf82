import { useContext, useState } from 'preact/hooks';
import { linkTo } from '../address.ts';
import { usePermissions } from '../boards/permissions.ts';
import { useZone } from '../calendar.ts';
import { CopyField } from '../copy-field.tsx';
import { useNavigation } from '../navigation.ts';
import { fixedRange, useShownRange } from '../shown-range.ts';
import { rangeNamed } from '../time.ts';
import { QuerySessionContext } from '../use-query.ts';
import { Popover } from './popover.tsx';
import { rangeText } from './range-text.ts';
import { Segmented } from './segmented.tsx';
import { controlsOf } from './view-controls.ts';

/** A button that offers a link to what is shown, for a colleague who can sign in. Nobody else can sign in to the demo. */
export function LinkButton() {
  const { canHaveBoards } = usePermissions();
  if (!canHaveBoards) return null;
  return (
    <Popover
      name="Copy link"
      align="end"
      shortcut="link"
      buttonClass="button"
      title="Copy a link to this view"
      button={
        <>
          <LinkIcon />
          <span class="wide-only" aria-hidden="true">
            Link
          </span>
          <span class="visually-hidden">Copy link</span>
        </>
      }
    >
      {() => <LinkPanel />}
    </Popover>
  );
}

function LinkIcon() {
  return (
    <svg class="stroke-icon" viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
      <path d="M6.8 9.2 9.2 6.8M7.3 4.7l1.5-1.5a2.8 2.8 0 0 1 4 4l-1.5 1.5M8.7 11.3l-1.5 1.5a2.8 2.8 0 0 1-4-4l1.5-1.5" />
    </svg>
  );
}

function LinkPanel() {
  const { address } = useNavigation();
  const { now } = useContext(QuerySessionContext);
  const zone = useZone();
  const current = useShownRange();
  // as of when the panel was opened, so that a refresh does not change what is about to be copied
  const [shown] = useState(current);
  const [dates, setDates] = useState<'fixed' | 'moving'>('fixed');
  const { hasRange, hasInterval } = controlsOf(address);
  // a range that moves with the time, and can therefore be fixed
  const isMoving = hasRange && address.range !== 'custom';
  const fixed = { ...fixedRange(shown), ...(hasInterval && { interval: shown.interval }) };
  const linked = isMoving && dates === 'fixed' ? { ...address, ...fixed } : address;
  return (
    <div class="link-panel">
      <CopyField label="Link" text={location.origin + linkTo(linked)} isPrimary />
      {isMoving && (
        <Segmented
          label="Opens with"
          options={[
            { value: 'fixed', label: rangeText(shown, zone, now) },
            { value: 'moving', label: rangeNamed(address.range)?.label ?? 'All time' },
          ]}
          value={dates}
          onSelect={setDates}
        />
      )}
      <p class="quiet">
        {address.view === 'boards'
          ? 'A board of your account opens only for you: show it to everyone, or share it.'
          : 'Your colleague signs in and sees the rows that they may read. To show charts without an account, share a board.'}
      </p>
    </div>
  );
}
