import { useContext, useEffect, useId, useState } from 'preact/hooks';
import { offsetAt } from '../../formats/time-zone.ts';
import { onlyLabel, REFRESH_INTERVALS, withFilter } from './address.ts';
import { adjacentRange, formatOffset, useZone, type Zone } from './calendar.ts';
import type { Names } from './catalog.ts';
import { EMPTY, formatText } from './format.ts';
import { useNavigation } from './navigation.ts';
import { useShownRange } from './shown-range.ts';
import { clampRange, INTERVALS, momentsOfWall, RANGES, timeZones, wallTime } from './time.ts';
import { QuerySessionContext } from './use-query.ts';

const ZONES = timeZones();

/** The controls of every view: range, interval, time zone, user and refresh. */
export function Controls({ canSeeAllUsers, isZoneLoaded }: { canSeeAllUsers: boolean; isZoneLoaded: boolean }) {
  const { address, go } = useNavigation();
  const { refresh } = useContext(QuerySessionContext);
  return (
    <form class="controls" aria-label="View options" onSubmit={(event) => event.preventDefault()}>
      {isZoneLoaded && <RangeControl />}
      <label>
        Interval{' '}
        <select
          value={address.interval}
          onChange={(event) =>
            go({ interval: INTERVALS.find(({ name }) => name === event.currentTarget.value)?.name ?? 'auto' })
          }
        >
          <option value="auto">Auto</option>
          {INTERVALS.map(({ name, label }) => (
            <option key={name} value={name}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <label>
        Time zone{' '}
        <select value={address.zone} onChange={(event) => go({ zone: event.currentTarget.value })}>
          {[...new Set([address.zone, ...ZONES])].map((zone) => (
            <option key={zone} value={zone}>
              {zone}
            </option>
          ))}
        </select>
      </label>
      {canSeeAllUsers && (
        <TextFilter label="User" value={address.user} placeholder="All" onSelect={(user) => go({ user })} />
      )}
      <label>
        Refresh{' '}
        <select
          value={String(address.refresh)}
          onChange={(event) => go({ refresh: Number(event.currentTarget.value) }, { replace: true })}
        >
          {REFRESH_INTERVALS.map((seconds) => (
            <option key={seconds} value={String(seconds)}>
              {seconds === 0 ? 'Off' : `Every ${seconds < 60 ? `${seconds} s` : `${seconds / 60} min`}`}
            </option>
          ))}
        </select>
      </label>
      <button type="button" onClick={refresh}>
        Refresh now
      </button>
    </form>
  );
}

/** Selects a range that ends now, the range of all rows, or a custom range in the page's time zone. */
function RangeControl() {
  const { address, go } = useNavigation();
  const shown = useShownRange();
  const zone = useZone();
  // undefined for an end that is not edited: it keeps its seconds, which the field does not show
  const [edited, setEdited] = useState<{ from?: TypedTime; to?: TypedTime }>();
  const isCustom = edited !== undefined || address.range === 'custom';

  // biome-ignore lint/correctness/useExhaustiveDependencies: navigation discards unsaved input
  useEffect(() => setEdited(undefined), [address.range, address.from, address.to, zone]);

  const start = edited?.from ? momentOfTyped(edited.from, zone) : shown.from;
  const end = edited?.to ? momentOfTyped(edited.to, zone) : shown.to;
  const isRange = start !== undefined && end !== undefined && start < end;
  const page = (direction: -1 | 1) =>
    go({ range: 'custom', ...clampRange(adjacentRange(shown, shown.span, zone, direction)) });

  return (
    <>
      <label>
        Range{' '}
        <select
          value={isCustom ? 'custom' : address.range}
          onChange={(event) => {
            const range = event.currentTarget.value;
            if (range === 'custom') setEdited({});
            else {
              setEdited(undefined);
              go({ range, from: undefined, to: undefined });
            }
          }}
        >
          {RANGES.map(({ name, label }) => (
            <option key={name} value={name}>
              {label}
            </option>
          ))}
          <option value="all">All time</option>
          <option value="custom">Custom</option>
        </select>
      </label>
      {isCustom && (
        <fieldset>
          <legend class="visually-hidden">Range</legend>
          <RangeEnd
            label="From"
            shown={shown.from}
            typed={edited?.from}
            onTyped={(from) => setEdited({ ...edited, from })}
          />
          <RangeEnd label="To" shown={shown.to} typed={edited?.to} onTyped={(to) => setEdited({ ...edited, to })} />
          {edited && (
            <button
              type="submit"
              disabled={!isRange}
              title={isRange ? 'Show this range' : 'The end must be after the start'}
              onClick={() => isRange && go({ range: 'custom', from: start, to: end })}
            >
              Apply
            </button>
          )}
        </fieldset>
      )}
      <span class="pair">
        <button type="button" aria-label="Earlier" title="Earlier" onClick={() => page(-1)}>
          ←
        </button>
        <button type="button" aria-label="Later" title="Later" onClick={() => page(1)}>
          →
        </button>
      </span>
    </>
  );
}

/** A time as typed. If it occurs twice, `offset` selects one. */
interface TypedTime {
  readonly text: string;
  readonly offset?: number;
}

function momentOfTyped({ text, offset }: TypedTime, zone: Zone): Date | undefined {
  const moments = momentsOfWall(text, zone);
  return moments.find((moment) => offsetAt(zone, moment.getTime()) === offset) ?? moments[0];
}

interface RangeEndProps {
  readonly label: string;
  readonly shown: Date;
  readonly typed: TypedTime | undefined;
  readonly onTyped: (typed: TypedTime) => void;
}

/** One end of a range: a time field and, for a time that occurs twice, a choice of UTC offsets. */
function RangeEnd({ label, shown, typed, onTyped }: RangeEndProps) {
  const zone = useZone();
  const text = typed?.text ?? wallTime(shown, zone);
  const moments = momentsOfWall(text, zone);
  const selected = typed ? momentOfTyped(typed, zone) : shown;
  return (
    <>
      <label>
        {label}{' '}
        <input type="datetime-local" value={text} onInput={(event) => onTyped({ text: event.currentTarget.value })} />
      </label>
      {moments.length > 1 && (
        <select
          aria-label={`${label}: UTC offset`}
          value={String(offsetAt(zone, selected?.getTime() ?? 0))}
          onChange={(event) => onTyped({ text, offset: Number(event.currentTarget.value) })}
        >
          {moments.map((moment) => {
            const offset = offsetAt(zone, moment.getTime());
            return (
              <option key={offset} value={String(offset)}>
                {formatOffset(offset)}
              </option>
            );
          })}
        </select>
      )}
    </>
  );
}

interface TextFilterProps {
  readonly label: string;
  /** Undefined: no filter. */
  readonly value: string | undefined;
  readonly placeholder: string;
  /** Suggestions. Other values can be typed. */
  readonly choices?: readonly string[];
  /** Whether to offer the empty string, which cannot be typed. */
  readonly canBeEmpty?: boolean;
  /** Called with the new value; undefined: no filter. */
  readonly onSelect: (value: string | undefined) => void;
}

/** A text filter. Takes effect on Enter or when the field loses focus. */
export function TextFilter({ label, value, placeholder, choices = [], canBeEmpty, onSelect }: TextFilterProps) {
  const id = useId();
  // kept in state so that a refresh of the page does not discard input
  const [draft, setDraft] = useState<string>();
  // biome-ignore lint/correctness/useExhaustiveDependencies: a new filter value discards the draft
  useEffect(() => setDraft(undefined), [value]);
  const commit = () => {
    if (draft !== undefined && draft !== (value ?? '')) onSelect(draft === '' ? undefined : draft);
    setDraft(undefined);
  };
  if (value === '') {
    return (
      <span class="filter">
        {label}
        <button type="button" onClick={() => onSelect(undefined)} aria-label={`${label}: ${EMPTY}. Remove filter`}>
          {EMPTY} ×
        </button>
      </span>
    );
  }
  return (
    <span class="filter">
      <label>
        {label}{' '}
        <input
          type="search"
          list={id}
          value={draft ?? value ?? ''}
          placeholder={placeholder}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => setDraft(event.currentTarget.value)}
          onChange={commit}
          onKeyDown={(event) => event.key === 'Enter' && commit()}
        />
        <datalist id={id}>{choices.map((choice) => choice !== '' && <option key={choice} value={choice} />)}</datalist>
      </label>
      {canBeEmpty && (
        <button type="button" onClick={() => onSelect('')} aria-label={`${label}: choose ${EMPTY}`}>
          {EMPTY}
        </button>
      )}
    </span>
  );
}

interface NamePickerProps {
  readonly label: string;
  /** Undefined: none selected. */
  readonly name: string | undefined;
  readonly choices: Names;
  readonly canBeEmpty?: boolean;
}

/** Selects the metric or event type of a view: from a list or, if the list is incomplete, by typing its name. */
export function NamePicker({ label, name, choices: { names, isComplete }, canBeEmpty = false }: NamePickerProps) {
  const { go } = useNavigation();
  const choose = (selected: string | undefined) =>
    go({ name: selected, filters: [], property: undefined, sum: undefined });
  if (!isComplete) {
    return (
      <TextFilter
        label={label}
        value={name}
        placeholder="Name"
        choices={names}
        canBeEmpty={canBeEmpty}
        onSelect={choose}
      />
    );
  }
  return (
    <label>
      {label}{' '}
      <select value={name} onChange={(event) => choose(event.currentTarget.value)}>
        {[...new Set([...(name === undefined ? [] : [name]), ...names])].map((choice) => (
          <option key={choice} value={choice}>
            {formatText(choice)}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Filters rows by label. */
export function LabelFilter({ label, choices }: { label: string; choices?: readonly string[] }) {
  const { address, go } = useNavigation();
  return (
    <TextFilter
      label={label}
      value={onlyLabel(address.filters)}
      placeholder="All"
      {...(choices && { choices })}
      canBeEmpty
      onSelect={(value) => {
        const others = address.filters.filter(({ field }) => field !== 'label');
        go({ filters: value === undefined ? others : withFilter(others, { field: 'label', operator: '=', value }) });
      }}
    />
  );
}
