import { useContext, useEffect, useState } from 'preact/hooks';
import { COMPARISONS } from '../address.ts';
import { useZone, wallOf } from '../calendar.ts';
import { useCatalog } from '../catalog.ts';
import { useNavigation } from '../navigation.ts';
import { pagedRange, type ShownRange, useShownRange } from '../shown-range.ts';
import { clampRange, DAY, RANGES, rangeNamed } from '../time.ts';
import { QuerySessionContext } from '../use-query.ts';
import { Caret, Chevron } from './icons.tsx';
import { MonthGrid } from './month-grid.tsx';
import { Popover } from './popover.tsx';
import { momentOfTyped, RangeEnd, type TypedTime } from './range-end.tsx';
import { comparisonText, LOCALE, rangeText } from './range-text.ts';
import { Segmented } from './segmented.tsx';

/** The range and the comparison in one button, with a button on either side for the ranges before and after. */
export function RangeControl() {
  const { address, go } = useNavigation();
  const { now } = useContext(QuerySessionContext);
  const shown = useShownRange();
  const zone = useZone();
  const { extent } = useCatalog();
  // rows can be of the future
  const hasLater = shown.to < now || (extent.to !== undefined && shown.to < extent.to);
  const page = (direction: -1 | 1) => go({ range: 'custom', ...clampRange(pagedRange(shown, zone, direction)) });

  const named = address.from === undefined ? rangeNamed(address.range) : undefined;
  const isAll = address.range === 'all';
  const dates = rangeText(shown, zone, now);
  const compare = isAll ? undefined : address.compare;
  const title = isAll
    ? undefined
    : `${dates}${compare ? `, compared with ${rangeText(shown.previous, zone, now)}` : ''} (${zone.name})`;
  return (
    <span class="range">
      <button
        type="button"
        class="icon"
        aria-label="Earlier"
        title="Earlier"
        data-shortcut="earlier"
        onClick={() => page(-1)}
      >
        <Chevron />
      </button>
      <Popover
        name="Range and comparison"
        shortcut="range"
        buttonClass="button range-button"
        title={title}
        button={
          <>
            <span class="visually-hidden">Range: </span>
            {named || isAll ? (named?.label ?? 'All time') : <span lang={LOCALE}>{dates}</span>}
            {compare && <small> {comparisonText(compare)}</small>}
            <Caret />
          </>
        }
      >
        {(close) => <RangePanel shown={shown} close={close} />}
      </Popover>
      <button
        type="button"
        class="icon"
        aria-label="Later"
        title="Later"
        data-shortcut="later"
        disabled={!hasLater}
        onClick={() => page(1)}
      >
        <Chevron isForward />
      </button>
    </span>
  );
}

/** Ranges that are named after their length, and those named after a calendar period. */
const ROLLING = RANGES.filter(({ name }) => /^\d/.test(name));
const CALENDAR = RANGES.filter(({ name }) => !/^\d/.test(name));

/** Keys of the ranges that have one. */
export const RANGE_KEYS: Readonly<Record<string, string>> = { today: 't', yesterday: 'y', '7d': '7', '30d': '3' };

function RangePanel({ shown, close }: { shown: ShownRange; close: () => void }) {
  const { address, go } = useNavigation();
  const choose = (range: string) => {
    go({ range, from: undefined, to: undefined });
    close();
  };
  const list = (ranges: readonly { readonly name: string; readonly label: string }[]) => (
    <ul>
      {ranges.map(({ name, label }) => (
        <li key={name}>
          <button
            type="button"
            aria-current={address.range === name ? 'true' : undefined}
            data-first={address.range === name ? '' : undefined}
            onClick={() => choose(name)}
          >
            {label}
            {RANGE_KEYS[name] && <kbd>{RANGE_KEYS[name]}</kbd>}
          </button>
        </li>
      ))}
    </ul>
  );
  return (
    <div class="range-panel">
      <div class="range-names">
        {list(ROLLING)}
        {list([...CALENDAR, { name: 'all', label: 'All time' }])}
      </div>
      <Segmented
        label="Compare with"
        options={[
          // the overview always compares
          ...(address.view === 'overview' ? [] : [{ value: 'none', label: 'None' } as const]),
          { value: 'previous', label: 'Previous period' },
          { value: 'year', label: 'Previous year' },
          { value: 'weekdays', label: 'Matching weekdays' },
        ]}
        value={address.compare ?? (address.view === 'overview' ? 'previous' : 'none')}
        onSelect={(value) => go({ compare: COMPARISONS.find((name) => name === value) })}
      />
      <CustomRange shown={shown} close={close} />
    </div>
  );
}

/** Selects any range in the page's time zone: whole days in a calendar, or exact times. */
function CustomRange({ shown, close }: { shown: ShownRange; close: () => void }) {
  const { address, go } = useNavigation();
  const { now } = useContext(QuerySessionContext);
  const zone = useZone();
  // undefined for an end that is not edited: it keeps its seconds, which the field does not show
  const [edited, setEdited] = useState<{ from?: TypedTime; to?: TypedTime }>();
  /** The first of two picked days, until the second one is picked. */
  const [anchor, setAnchor] = useState<number>();
  // biome-ignore lint/correctness/useExhaustiveDependencies: navigation discards unsaved input
  useEffect(() => setEdited(undefined), [address.range, address.from, address.to, zone]);

  const start = edited?.from ? momentOfTyped(edited.from, zone) : shown.from;
  const end = edited?.to ? momentOfTyped(edited.to, zone) : shown.to;
  const isRange = start !== undefined && end !== undefined && start < end;
  const dayOf = (moment: Date) => Math.floor(wallOf(zone, moment.getTime()) / DAY) * DAY;
  const last = dayOf(new Date((isRange ? end : shown.to).getTime() - 1));

  const pick = (day: number) => {
    const [first, final] = anchor === undefined ? [day, day] : [Math.min(anchor, day), Math.max(anchor, day)];
    setAnchor(anchor === undefined ? day : undefined);
    const text = (midnight: number) => new Date(midnight).toISOString().slice(0, 16);
    setEdited({ from: { text: text(first) }, to: { text: text(final + DAY) } });
  };
  return (
    <form
      class="range-custom"
      aria-label="Custom range"
      onSubmit={(event) => {
        event.preventDefault();
        if (!isRange) return;
        go({ range: 'custom', from: start, to: end });
        close();
      }}
    >
      <MonthGrid
        today={dayOf(now)}
        first={dayOf(isRange ? start : shown.from)}
        last={last}
        weekStart={address.weekStart}
        onPick={pick}
      />
      <div class="range-ends">
        <RangeEnd
          label="From"
          shown={shown.from}
          typed={edited?.from}
          onTyped={(from) => setEdited({ ...edited, from })}
        />
        <RangeEnd label="To" shown={shown.to} typed={edited?.to} onTyped={(to) => setEdited({ ...edited, to })} />
      </div>
      <div class="range-apply">
        <output lang={LOCALE}>{isRange ? rangeText({ from: start, to: end }, zone, now) : ''}</output>
        {!isRange && <span class="quiet">The end must be after the start.</span>}
        <button type="submit" class="primary" disabled={!isRange || edited === undefined}>
          Apply
        </button>
      </div>
    </form>
  );
}
