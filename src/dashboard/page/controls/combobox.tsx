import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { matching } from './search.ts';

interface ComboboxProps {
  readonly label: string;
  readonly value: string;
  readonly choices: readonly string[];
  /** Text next to a choice. */
  readonly detail?: (choice: string) => string;
  readonly onSelect: (choice: string) => void;
}

/** Maximum number of choices listed at once. */
const MAX_LISTED = 50;

/** A searchable list, with the keys of a combobox in the ARIA Authoring Practices. */
export function Combobox({ label, value, choices, detail, onSelect }: ComboboxProps) {
  const id = useId();
  const [search, setSearch] = useState<string>();
  const [active, setActive] = useState(0);
  const list = useRef<HTMLDivElement>(null);
  const isOpen = search !== undefined;
  // the current value first, so that it is listed
  const listed = search
    ? matching(choices, search)
    : isOpen
      ? [value, ...choices.filter((name) => name !== value)]
      : [];

  const shown = listed.slice(0, MAX_LISTED);
  useLayoutEffect(() => {
    list.current?.children[active]?.scrollIntoView({ block: 'nearest' });
  }, [active]);

  const close = () => setSearch(undefined);
  const open = () => {
    if (isOpen) return;
    setSearch('');
    setActive(0);
  };
  const select = (choice: string | undefined) => {
    if (choice !== undefined) onSelect(choice);
    close();
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step !== 0 && !isOpen) open();
    else if (step !== 0) setActive((active + step + shown.length) % Math.max(1, shown.length));
    else if (event.key === 'Enter' && isOpen) select(shown[active]);
    else if (event.key === 'Escape' && isOpen) close();
    else return;
    // also keeps Escape from closing the panel that contains the field
    event.preventDefault();
  };
  return (
    <div class="combobox">
      <label for={`${id}-field`}>{label}</label>
      <input
        id={`${id}-field`}
        type="text"
        role="combobox"
        aria-expanded={isOpen}
        aria-controls={`${id}-list`}
        aria-autocomplete="list"
        aria-activedescendant={isOpen && shown.length > 0 ? `${id}-${active}` : undefined}
        autocomplete="off"
        spellcheck={false}
        value={search || (isOpen ? '' : value)}
        placeholder={value}
        onClick={open}
        onInput={(event) => {
          setSearch(event.currentTarget.value);
          setActive(0);
        }}
        onKeyDown={onKeyDown}
        onBlur={close}
      />
      <div ref={list} id={`${id}-list`} role="listbox" aria-label={label} hidden={!isOpen}>
        {shown.map((choice, i) => (
          // biome-ignore lint/a11y/useKeyWithClickEvents: the field handles the keys
          // biome-ignore lint/a11y/useFocusableInteractive: the field keeps the focus, and names the active choice
          <div
            key={choice}
            id={`${id}-${i}`}
            role="option"
            aria-selected={i === active}
            // the field keeps the focus
            onMouseDown={(event) => event.preventDefault()}
            onClick={() => select(choice)}
          >
            {choice.replaceAll('_', ' ')}
            {detail && <small>{detail(choice)}</small>}
          </div>
        ))}
        {isOpen && shown.length === 0 && <p class="quiet">Nothing matches.</p>}
      </div>
    </div>
  );
}
