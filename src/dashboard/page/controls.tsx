import { useContext, useEffect, useId, useState } from 'preact/hooks';
import { offsetAt } from '../../formats/time-zone.ts';
import { REFRESHES } from './address.ts';
import { AskingContext } from './answer.ts';
import { formatOffset, pageOf, useZone, type Zone } from './calendar.ts';
import type { Names } from './catalog.ts';
import { EMPTY, formatText } from './format.ts';
import { usePlace } from './place.ts';
import { useShownRange } from './shown-range.ts';
import { INTERVALS, momentsOfWall, RANGES, sensible, timeZones, wallTime } from './time.ts';

const ZONES = timeZones();

/** The range, its buckets, the zone, and how often to ask again. */
export function Controls({ seesAll, isZoneKnown }: { seesAll: boolean; isZoneKnown: boolean }) {
  const { address, go } = usePlace();
  const { again } = useContext(AskingContext);
  return (
    <form class="controls" aria-label="What is shown" onSubmit={(event) => event.preventDefault()}>
      {isZoneKnown && <RangeControl />}
      <label>
        Bucket{' '}
        <select
          value={address.interval}
          onChange={(event) =>
            go({ interval: INTERVALS.find(({ name }) => name === event.currentTarget.value)?.name ?? 'auto' })
          }
        >
          <option value="auto">automatic</option>
          {INTERVALS.map(({ name, label }) => (
            <option key={name} value={name}>
              {label}
            </option>
          ))}
        </select>
      </label>
      <label>
        Zone{' '}
        <select value={address.zone} onChange={(event) => go({ zone: event.currentTarget.value })}>
          {[...new Set([address.zone, ...ZONES])].map((zone) => (
            <option key={zone} value={zone}>
              {zone}
            </option>
          ))}
        </select>
      </label>
      {seesAll && <TextFilter label="User" value={address.user} placeholder="all" onChosen={(user) => go({ user })} />}
      <label>
        Refresh{' '}
        <select
          value={String(address.refresh)}
          onChange={(event) => go({ refresh: Number(event.currentTarget.value) }, { replace: true })}
        >
          {REFRESHES.map((seconds) => (
            <option key={seconds} value={String(seconds)}>
              {seconds === 0 ? 'off' : `every ${seconds < 60 ? `${seconds} s` : `${seconds / 60} min`}`}
            </option>
          ))}
        </select>
      </label>
      <button type="button" onClick={again}>
        Refresh now
      </button>
    </form>
  );
}

/** A range that ends now, all, or one between two times of the zone's calendar. */
function RangeControl() {
  const { address, go } = usePlace();
  const shown = useShownRange();
  const zone = useZone();
  // an end that is not touched keeps its seconds, which the field does not show
  const [edited, setEdited] = useState<{ from?: TypedTime; to?: TypedTime }>();
  const isCustom = edited !== undefined || address.range === 'custom';

  // biome-ignore lint/correctness/useExhaustiveDependencies: what was typed is done with once the page is elsewhere
  useEffect(() => setEdited(undefined), [address.range, address.from, address.to, zone]);

  const start = edited?.from ? momentOfTyped(edited.from, zone) : shown.from;
  const end = edited?.to ? momentOfTyped(edited.to, zone) : shown.to;
  const isRange = start !== undefined && end !== undefined && start < end;
  const page = (direction: -1 | 1) => go({ range: 'custom', ...sensible(pageOf(shown, shown.span, zone, direction)) });

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
          <option value="all">All</option>
          <option value="custom">From … to …</option>
        </select>
      </label>
      {isCustom && (
        <fieldset>
          <legend class="unseen">Range</legend>
          <RangeEnd
            label="From"
            shown={shown.from}
            typed={edited?.from}
            onTyped={(from) => setEdited({ ...edited, from })}
          />
          <RangeEnd label="to" shown={shown.to} typed={edited?.to} onTyped={(to) => setEdited({ ...edited, to })} />
          {edited && (
            <button
              type="submit"
              disabled={!isRange}
              title={isRange ? 'Show this range' : 'The range should end after its start'}
              onClick={() => isRange && go({ range: 'custom', from: start, to: end })}
            >
              Show
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

/** A time as it was typed, and the offset that was chosen where clocks show it twice. */
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

/** An end of a range: its time and, where clocks show that twice, the offset that tells which one is meant. */
function RangeEnd({ label, shown, typed, onTyped }: RangeEndProps) {
  const zone = useZone();
  const text = typed?.text ?? wallTime(shown, zone);
  const moments = momentsOfWall(text, zone);
  const chosen = typed ? momentOfTyped(typed, zone) : shown;
  return (
    <>
      <label>
        {label}{' '}
        <input type="datetime-local" value={text} onInput={(event) => onTyped({ text: event.currentTarget.value })} />
      </label>
      {moments.length > 1 && (
        <select
          aria-label={`${label}: UTC offset`}
          value={String(offsetAt(zone, chosen?.getTime() ?? 0))}
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
  /** Undefined: any. */
  readonly value: string | undefined;
  readonly placeholder: string;
  /** What may be chosen; anything else can be typed. */
  readonly choices?: readonly string[];
  /** Whether the empty text can be chosen, which cannot be typed. */
  readonly canBeEmpty?: boolean;
  /** Told the text; undefined: any. */
  readonly onChosen: (value: string | undefined) => void;
}

/** A text that what is shown must have; it counts when Enter is pressed or the field is left. */
export function TextFilter({ label, value, placeholder, choices = [], canBeEmpty, onChosen }: TextFilterProps) {
  const id = useId();
  // what is typed stays while the page around it is drawn anew
  const [draft, setDraft] = useState<string>();
  // biome-ignore lint/correctness/useExhaustiveDependencies: what was typed is done with once the filter is another
  useEffect(() => setDraft(undefined), [value]);
  const commit = () => {
    if (draft !== undefined && draft !== (value ?? '')) onChosen(draft === '' ? undefined : draft);
    setDraft(undefined);
  };
  if (value === '') {
    return (
      <span class="filter">
        {label}
        <button type="button" onClick={() => onChosen(undefined)} aria-label={`${label}: ${EMPTY}. Remove this filter`}>
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
        <button type="button" onClick={() => onChosen('')} aria-label={`${label}: choose ${EMPTY}`}>
          {EMPTY}
        </button>
      )}
    </span>
  );
}

interface NamePickerProps {
  readonly label: string;
  /** Undefined: none is chosen yet. */
  readonly name: string | undefined;
  readonly choices: Names;
  readonly canBeEmpty?: boolean;
}

/** Chooses the metric or the event type of a view: from a list or, where that is not all there is, by its name. */
export function NamePicker({ label, name, choices: { names, isComplete }, canBeEmpty = false }: NamePickerProps) {
  const { go } = usePlace();
  const choose = (chosen: string | undefined) =>
    go({ name: chosen, label: undefined, steps: [], retention: undefined });
  if (!isComplete) {
    return (
      <TextFilter
        label={label}
        value={name}
        placeholder="name"
        choices={names}
        canBeEmpty={canBeEmpty}
        onChosen={choose}
      />
    );
  }
  return (
    <label>
      {label}{' '}
      <select value={name} onChange={(event) => choose(event.currentTarget.value)}>
        {[...new Set([...(name === undefined ? [] : [name]), ...names])].map((one) => (
          <option key={one} value={one}>
            {formatText(one)}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Shows the rows of one label alone. */
export function LabelFilter({ label, choices }: { label: string; choices?: readonly string[] }) {
  const { address, go } = usePlace();
  return (
    <TextFilter
      label={label}
      value={address.label}
      placeholder="all"
      {...(choices && { choices })}
      canBeEmpty
      onChosen={(chosen) => go({ label: chosen })}
    />
  );
}
