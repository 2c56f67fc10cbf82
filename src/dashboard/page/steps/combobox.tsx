import { useId, useRef, useState } from 'preact/hooks';
import { type Choice, listedChoices } from './choices.ts';

interface ComboboxProps {
  /** The accessible name. */
  readonly label: string;
  /** The text of the current choice; empty: nothing is chosen. */
  readonly text: string;
  readonly placeholder: string;
  readonly choices: readonly Choice[];
  /** Whether more choices are being loaded. */
  readonly isLoading?: boolean;
  readonly onOpen?: (isOpen: boolean) => void;
  /** Called with the value of a choice, or with the typed text if it is not among them. */
  readonly onSelect: (value: string | undefined) => void;
}

/** A text field with a list of choices that typing narrows down (ARIA Authoring Practices, combobox pattern). */
export function Combobox({ label, text, placeholder, choices, isLoading, onOpen, onSelect }: ComboboxProps) {
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const [isOpen, setOpen] = useState(false);
  // kept in state, so that a refresh of the page does not discard input
  const [draft, setDraft] = useState<string>();
  const [active, setActive] = useState(0);
  const listed = listedChoices(choices, draft);
  const activeIndex = Math.min(active, listed.length - 1);

  const open = () => {
    if (isOpen) return;
    setOpen(true);
    // nothing is typed yet: the current choice is the active one
    setActive(Math.max(0, text === '' ? 0 : choices.findIndex((choice) => choice.text === text)));
    onOpen?.(true);
  };
  const close = () => {
    setOpen(false);
    setDraft(undefined);
    onOpen?.(false);
  };
  const select = (choice: Choice | undefined) => {
    close();
    if (choice) onSelect(choice.value);
  };
  const move = (to: number) => {
    const index = (to + listed.length) % listed.length;
    setActive(index);
    list.current?.children[index]?.scrollIntoView({ block: 'nearest' });
  };
  const onKeyDown = (event: KeyboardEvent) => {
    const { key } = event;
    if (key === 'ArrowDown' || key === 'ArrowUp') {
      event.preventDefault();
      if (!isOpen) open();
      else if (listed.length > 0) move(activeIndex + (key === 'ArrowDown' ? 1 : -1));
    } else if (key === 'Enter' && isOpen) {
      event.preventDefault();
      select(listed[activeIndex]);
    } else if (key === 'Escape' && isOpen) {
      event.stopPropagation();
      close();
    }
  };
  return (
    <span class="step-combobox">
      <input
        type="text"
        role="combobox"
        aria-label={label}
        aria-autocomplete="list"
        aria-expanded={isOpen}
        aria-controls={id}
        aria-activedescendant={isOpen && listed.length > 0 ? `${id}-${activeIndex}` : undefined}
        autocomplete="off"
        spellcheck={false}
        placeholder={placeholder}
        title={draft === undefined && text !== '' ? text : undefined}
        value={draft ?? text}
        onFocus={(event) => event.currentTarget.select()}
        onClick={open}
        onInput={(event) => {
          setDraft(event.currentTarget.value);
          setActive(0);
          setOpen(true);
        }}
        onKeyDown={onKeyDown}
        onBlur={() => {
          // leaving the field applies what was typed only if it is one of the choices
          if (isOpen) select(draft === undefined ? undefined : choices.find((choice) => choice.text === draft));
        }}
      />
      <div
        id={id}
        role="listbox"
        aria-label={label}
        aria-busy={isOpen && isLoading === true}
        hidden={!isOpen}
        ref={list}
      >
        {isOpen &&
          listed.map((choice, i) => (
            // biome-ignore lint/a11y/useKeyWithClickEvents: the keyboard works in the text field, which keeps the focus
            <div
              key={`${choice.value === undefined} ${choice.text}`}
              id={`${id}-${i}`}
              role="option"
              tabIndex={-1}
              aria-selected={i === activeIndex}
              onMouseDown={(event) => event.preventDefault()}
              onClick={() => select(choice)}
            >
              {choice.text}
            </div>
          ))}
        {isOpen && listed.length === 0 && (
          <div role="option" aria-disabled="true" aria-selected="false" tabIndex={-1}>
            {isLoading ? 'Loading…' : 'Type a name'}
          </div>
        )}
      </div>
    </span>
  );
}
