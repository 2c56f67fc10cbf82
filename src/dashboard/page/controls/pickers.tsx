import { useEffect, useId, useState } from 'preact/hooks';
import type { Names } from '../catalog.ts';
import { EMPTY, formatText } from '../format.ts';
import { useNavigation } from '../navigation.ts';

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
