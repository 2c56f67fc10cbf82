import { useContext, useEffect, useId, useState } from 'preact/hooks';
import { REFRESHES } from './address.ts';
import { AskingContext } from './answer.ts';
import type { Names } from './catalog.ts';
import { usePlace } from './place.ts';
import { useShownRange } from './shown-range.ts';
import { INTERVALS, momentOfWall, RANGES, timeZones, wallTime } from './time.ts';

const ZONES = timeZones();

/** The range, its buckets, the zone, and how often to ask again. */
export function Controls({ seesAll }: { seesAll: boolean }) {
  const { address, go } = usePlace();
  const { again } = useContext(AskingContext);
  return (
    <form class="controls" aria-label="What is shown" onSubmit={(event) => event.preventDefault()}>
      <RangeControl />
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
      {seesAll && (
        <TextFilter
          label="User"
          value={address.user ?? ''}
          placeholder="all"
          onChosen={(user) => go({ user: user || undefined })}
        />
      )}
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
  const { zone } = address;
  const [from, to] = [wallTime(shown.from, zone), wallTime(shown.to, zone)];
  // an end that is not touched keeps its seconds, which the field does not show
  const [edited, setEdited] = useState<{ from?: string; to?: string }>();
  const isCustom = edited !== undefined || address.range === 'custom';

  // biome-ignore lint/correctness/useExhaustiveDependencies: what was typed is done with once the page is elsewhere
  useEffect(() => setEdited(undefined), [address.range, address.from, address.to, zone]);

  const start = edited?.from === undefined ? shown.from : momentOfWall(edited.from, zone);
  const end = edited?.to === undefined ? shown.to : momentOfWall(edited.to, zone);
  const isRange = start !== undefined && end !== undefined && start < end;
  const length = shown.to.getTime() - shown.from.getTime();
  const moveBy = (milliseconds: number) =>
    go({
      range: 'custom',
      from: new Date(shown.from.getTime() + milliseconds),
      to: new Date(shown.to.getTime() + milliseconds),
    });

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
          <label>
            From{' '}
            <input
              type="datetime-local"
              value={edited?.from ?? from}
              onInput={(event) => setEdited({ ...edited, from: event.currentTarget.value })}
            />
          </label>
          <label>
            to{' '}
            <input
              type="datetime-local"
              value={edited?.to ?? to}
              onInput={(event) => setEdited({ ...edited, to: event.currentTarget.value })}
            />
          </label>
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
        <button type="button" aria-label="Earlier" title="Earlier" onClick={() => moveBy(-length / 2)}>
          ←
        </button>
        <button type="button" aria-label="Later" title="Later" onClick={() => moveBy(length / 2)}>
          →
        </button>
      </span>
    </>
  );
}

interface TextFilterProps {
  readonly label: string;
  readonly value: string;
  readonly placeholder: string;
  /** What may be chosen; anything else can be typed. */
  readonly choices?: readonly string[];
  readonly onChosen: (value: string) => void;
}

/** A text that what is shown must have; it counts when Enter is pressed or the field is left. */
export function TextFilter({ label, value, placeholder, choices = [], onChosen }: TextFilterProps) {
  const id = useId();
  // what is typed stays while the page around it is drawn anew
  const [draft, setDraft] = useState<string>();
  // biome-ignore lint/correctness/useExhaustiveDependencies: what was typed is done with once the filter is another
  useEffect(() => setDraft(undefined), [value]);
  const commit = () => {
    if (draft !== undefined && draft !== value) onChosen(draft);
    setDraft(undefined);
  };
  return (
    <label>
      {label}{' '}
      <input
        type="search"
        list={id}
        value={draft ?? value}
        placeholder={placeholder}
        autocomplete="off"
        spellcheck={false}
        onInput={(event) => setDraft(event.currentTarget.value)}
        onChange={commit}
        onKeyDown={(event) => event.key === 'Enter' && commit()}
      />
      <datalist id={id}>
        {choices.map((choice) => (
          <option key={choice} value={choice} />
        ))}
      </datalist>
    </label>
  );
}

interface NamePickerProps {
  readonly label: string;
  /** Undefined: none is chosen yet. */
  readonly name: string | undefined;
  readonly choices: Names;
}

/** Chooses the metric or the event type of a view: from a list or, where that is not all there is, by its name. */
export function NamePicker({ label, name, choices: { names, isComplete } }: NamePickerProps) {
  const { go } = usePlace();
  const choose = (chosen: string) => go({ name: chosen, label: undefined, steps: [], retention: undefined });
  if (!isComplete) {
    return <TextFilter label={label} value={name ?? ''} placeholder="name" choices={names} onChosen={choose} />;
  }
  return (
    <label>
      {label}{' '}
      <select value={name} onChange={(event) => choose(event.currentTarget.value)}>
        {[...new Set([...(name === undefined ? [] : [name]), ...names])].map((one) => (
          <option key={one} value={one}>
            {one || '(no name)'}
          </option>
        ))}
      </select>
    </label>
  );
}

/** Shows the rows of one label alone. */
export function LabelFilter({ label, choices }: { label: string; choices?: readonly string[] }) {
  const { address, go } = usePlace();
  if (address.label === '') {
    return (
      <span class="quiet">
        {label}{' '}
        <button type="button" onClick={() => go({ label: undefined })} title="Show all">
          (empty) ×
        </button>
      </span>
    );
  }
  return (
    <TextFilter
      label={label}
      value={address.label ?? ''}
      placeholder="all"
      {...(choices && { choices })}
      onChosen={(chosen) => go({ label: chosen === '' ? undefined : chosen })}
    />
  );
}
