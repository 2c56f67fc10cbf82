import { useContext } from 'preact/hooks';
import { REFRESH_INTERVALS } from '../address.ts';
import { useNavigation } from '../navigation.ts';
import { INTERVALS, timeZones } from '../time.ts';
import { QuerySessionContext } from '../use-query.ts';
import { Combobox } from './combobox.tsx';
import { TextFilter } from './pickers.tsx';
import { Popover } from './popover.tsx';
import { Segmented } from './segmented.tsx';
import { controlsOf } from './view-controls.ts';

const ZONES = timeZones();

/** Everything that is rarely changed, behind one button. */
export function Options({ canSeeAllUsers }: { canSeeAllUsers: boolean }) {
  return (
    <Popover
      name="Options"
      shortcut="options"
      align="end"
      buttonClass="button options-button"
      button={
        <>
          <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
            <path d="M2 5h7M13 5h1M2 11h1M7 11h7" />
            <circle cx="11" cy="5" r="1.75" />
            <circle cx="5" cy="11" r="1.75" />
          </svg>
          <span class="wide-only">Options</span>
        </>
      }
    >
      {() => <OptionsPanel canSeeAllUsers={canSeeAllUsers} />}
    </Popover>
  );
}

function OptionsPanel({ canSeeAllUsers }: { canSeeAllUsers: boolean }) {
  const { address, go } = useNavigation();
  const { refresh, now } = useContext(QuerySessionContext);
  const { hasRange, hasInterval, hasAxis } = controlsOf(address);
  return (
    <form class="options" aria-label="View options" onSubmit={(event) => event.preventDefault()}>
      {hasInterval && (
        <label>
          Interval
          <select
            data-first
            value={address.interval}
            onChange={(event) =>
              go({ interval: INTERVALS.find(({ name }) => name === event.currentTarget.value)?.name ?? 'auto' })
            }
          >
            <option value="auto">Automatic</option>
            {INTERVALS.map(({ name, label }) => (
              <option key={name} value={name}>
                {label}
              </option>
            ))}
          </select>
        </label>
      )}
      {hasAxis && (
        <fieldset class="checks">
          <legend class="visually-hidden">Value axis</legend>
          <label class="check">
            <input
              type="checkbox"
              checked={address.logarithmic}
              onChange={() => go({ logarithmic: !address.logarithmic })}
            />
            Logarithmic axis
          </label>
          <label class="check">
            <input type="checkbox" checked={address.capped} onChange={() => go({ capped: !address.capped })} />
            Cut off outliers
          </label>
        </fieldset>
      )}
      {canSeeAllUsers && (
        <TextFilter label="User" value={address.user} placeholder="All users" onSelect={(user) => go({ user })} />
      )}
      <Combobox
        label="Time zone"
        isLabelShown
        text={zoneText(address.zone)}
        placeholder={zoneText(address.zone)}
        // the current one first, so that it is listed
        choices={[address.zone, ...ZONES.filter((zone) => zone !== address.zone)].map((zone) => ({
          value: zone,
          text: zoneText(zone),
        }))}
        detail={({ value = 'UTC' }) => offsetText(value, now)}
        onSelect={(zone) => zone !== undefined && go({ zone })}
      />
      {hasRange && (
        <Segmented
          label="First day of the week"
          options={[
            { value: 'monday', label: 'Monday' },
            { value: 'sunday', label: 'Sunday' },
          ]}
          value={address.weekStart}
          onSelect={(weekStart) => go({ weekStart })}
        />
      )}
      <div class="refresh">
        <label>
          Refresh
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
      </div>
    </form>
  );
}

function zoneText(zone: string): string {
  return zone.replaceAll('_', ' ');
}

/** Formats the offset of a time zone, such as `UTC+2`. Only a hint: the browser's rules can be older than the server's. */
function offsetText(zone: string, now: Date): string {
  const format = new Intl.DateTimeFormat('en', { timeZone: zone, timeZoneName: 'shortOffset' });
  const name = format.formatToParts(now).find(({ type }) => type === 'timeZoneName')?.value ?? '';
  return name.replace('GMT', 'UTC');
}
