import { Fragment } from 'preact';
import { useState } from 'preact/hooks';
import { type Address, type Filter, OPERATORS, type Operator, withFilter, withoutFilter } from '../address.ts';
import type { QueryParameters } from '../api.ts';
import { EMPTY, formatText } from '../format.ts';
import { useNavigation } from '../navigation.ts';
import { useShownRange } from '../shown-range.ts';
import { useQuery } from '../use-query.ts';
import { Popover } from './popover.tsx';
import { fieldOf, fieldText, propertyPaths } from './property-paths.ts';
import { controlsOf } from './view-controls.ts';

const OPERATOR_TEXTS: Record<Operator, string> = { '=': 'is', '!=': 'is not', '~=': 'contains' };

/** The filters of the view as chips. Each value has a button that removes it. */
export function FilterChips() {
  const { address, go } = useNavigation();
  const filters = controlsOf(address).filters === 'none' ? [] : address.filters;
  const groups = Map.groupBy(filters, ({ field, operator }) => JSON.stringify([field, operator]));
  if (groups.size === 0 && address.user === undefined) return null;
  return (
    <ul class="chips" aria-label="Filters">
      {address.user !== undefined && (
        <li class="chip">
          <span>
            User <i>is</i>
          </span>
          <ChipValue text={address.user} name={`User is ${address.user}`} onRemove={() => go({ user: undefined })} />
        </li>
      )}
      {[...groups].map(([key, values]) => {
        const [{ field, operator } = { field: 'label', operator: '=' }] = values;
        return (
          <li class="chip" key={key}>
            <span>
              <span class="name">{fieldText(field as Filter['field'])}</span>{' '}
              <i>{OPERATOR_TEXTS[operator as Operator]}</i>
            </span>
            {values.map((filter, i) => (
              <Fragment key={filter.value}>
                {i > 0 && <i>or</i>}
                <ChipValue
                  text={formatText(filter.value)}
                  name={describe(filter)}
                  onRemove={() => go({ filters: withoutFilter(address.filters, filter) })}
                />
              </Fragment>
            ))}
          </li>
        );
      })}
    </ul>
  );
}

function describe({ field, operator, value }: Filter): string {
  return `${fieldText(field)} ${OPERATOR_TEXTS[operator]} ${formatText(value)}`;
}

function ChipValue({ text, name, onRemove }: { text: string; name: string; onRemove: () => void }) {
  return (
    <button type="button" aria-label={`Remove the filter ${name}`} title="Remove this filter" onClick={onRemove}>
      <b class="name">{text}</b>
      <svg viewBox="0 0 16 16" width="12" height="12" aria-hidden="true">
        <path d="m4 4 8 8M12 4l-8 8" />
      </svg>
    </button>
  );
}

/** A button that opens the editor of a new filter. */
export function AddFilter() {
  const { address } = useNavigation();
  const kinds = controlsOf(address).filters;
  if (kinds === 'none') return null;
  return (
    <Popover
      name="Add filter"
      shortcut="filter"
      buttonClass="button filter-button"
      button={
        <>
          <svg viewBox="0 0 16 16" width="16" height="16" aria-hidden="true">
            <path d="M2 4h12M4.5 8h7M7 12h2" />
          </svg>
          <span class="wide-only">Add filter</span>
        </>
      }
    >
      {(close) => <FilterEditor kinds={kinds} close={close} />}
    </Popover>
  );
}

/** Number of events whose properties are offered. */
const SAMPLED = 100;

/** Number of values offered. */
const OFFERED = 100;

function FilterEditor({ kinds, close }: { kinds: 'label' | 'all'; close: () => void }) {
  const { address, go } = useNavigation();
  const [typedField, setTypedField] = useState('Label');
  const [operator, setOperator] = useState<Operator>('=');
  const [value, setValue] = useState('');
  const field = kinds === 'label' ? 'label' : fieldOf(typedField);
  const fields = useOfferedFields(address, kinds === 'all');
  // not for a path that is still being typed
  const isKnown = field === 'label' || (field !== undefined && fields.includes(field));
  const offered = useOfferedValues(address, isKnown ? field : undefined);
  // the empty text contains nothing to look for, but can be a value
  const isComplete = field !== undefined && (operator !== '~=' || value !== '');
  return (
    <form
      class="filter-editor"
      aria-label="Add filter"
      onSubmit={(event) => {
        event.preventDefault();
        if (!isComplete) return;
        go({ filters: withFilter(address.filters, { field, operator, value }) });
        close();
      }}
    >
      {kinds === 'label' ? (
        <span class="fixed-field">Label</span>
      ) : (
        <label>
          Field
          <input
            data-first
            type="text"
            list="filter-fields"
            value={typedField}
            placeholder="Label or a property"
            autocomplete="off"
            spellcheck={false}
            onFocus={(event) => event.currentTarget.select()}
            onInput={(event) => setTypedField(event.currentTarget.value)}
          />
          <datalist id="filter-fields">
            <option value="Label" />
            {fields.map((path) => (
              <option key={path} value={fieldText(path)}>
                Property
              </option>
            ))}
          </datalist>
        </label>
      )}
      <label>
        Operator
        <select
          value={operator}
          onChange={(event) => setOperator(OPERATORS.find((name) => name === event.currentTarget.value) ?? '=')}
        >
          {OPERATORS.map((name) => (
            <option key={name} value={name}>
              {OPERATOR_TEXTS[name]}
            </option>
          ))}
        </select>
      </label>
      <label class="value">
        Value
        <input
          data-first={kinds === 'label' ? '' : undefined}
          type="text"
          list="filter-values"
          value={value}
          placeholder={operator === '~=' ? 'Text' : EMPTY}
          autocomplete="off"
          spellcheck={false}
          onInput={(event) => setValue(event.currentTarget.value)}
        />
        <datalist id="filter-values">
          {offered.map((choice) => (
            <option key={choice} value={choice} />
          ))}
        </datalist>
      </label>
      <button type="submit" class="primary" disabled={!isComplete}>
        Add
      </button>
      <p class="quiet">
        {kinds === 'all' ? 'Label, or a property of the events such as plan or cart.total. ' : ''}
        Add the same filter again with another value to match either of them.
      </p>
    </form>
  );
}

/** Returns the properties of the latest events of the view. */
function useOfferedFields(address: Address, isUsed: boolean): `data.${string}`[] {
  const { from, to } = useShownRange();
  const type = address.view === 'event' || address.view === 'records' ? address.name : undefined;
  const parameters = isUsed ? { type, from, to, user_id: address.user, limit: SAMPLED } : undefined;
  const sample = useQuery('/api/records/analytics', parameters, JSON.stringify([type, address.user]), true);
  return propertyPaths(sample.value?.records.map(({ data }) => data) ?? []);
}

/** Returns the most frequent values of a field. */
function useOfferedValues(address: Address, field: Filter['field'] | undefined): string[] {
  const { from, to } = useShownRange();
  const { name, view, kind, user, zone } = address;
  const isMetric = view === 'metric' || (view === 'records' && kind === 'metrics');
  const canList = name !== undefined && view !== 'funnel' && view !== 'retention';
  const subject = JSON.stringify([view, kind, name, user, field]);
  const common: QueryParameters = { from, to, tz: zone, user_id: user, top: OFFERED };
  const labels = useQuery(
    '/api/metrics/series',
    canList && isMetric ? { ...common, name, group_by: 'data_string' } : undefined,
    subject,
    true,
  );
  const group = field === 'label' ? 'data_index' : field;
  const values = useQuery(
    '/api/analytics/counts',
    canList && !isMetric && group !== undefined ? { ...common, type: name, group_by: group } : undefined,
    subject,
    true,
  );
  if (isMetric) return (labels.value?.groups ?? []).map(({ data_string }) => data_string);
  return (values.value?.groups ?? [])
    .map((counted) => Object.entries(counted).find(([key]) => key === group)?.[1])
    .filter((value) => value !== null && value !== undefined)
    .map(String);
}
