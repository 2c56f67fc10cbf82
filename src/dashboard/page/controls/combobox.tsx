import { useId, useLayoutEffect, useRef, useState } from 'preact/hooks';
import { type Choice, listedChoices } from './choices.ts';

interface ComboboxProps {
  /** The accessible name. */
  readonly label: string;
  /** Whether the name is shown above the field. */
  readonly isLabelShown?: boolean;
  /** The text of the current choice; empty: nothing is chosen. */
  readonly text: string;
  readonly placeholder: string;
  readonly choices: readonly Choice[];
  /** Text next to a choice. */
  readonly detail?: (choice: Choice) => string;
  /** Whether a text that is none of the choices can be chosen too. */
  readonly allowsOther?: boolean;
  /** Whether more choices are being loaded. */
  readonly isLoading?: boolean;
  readonly onOpen?: (isOpen: boolean) => void;
  /** Called with the value of a choice, or with the typed text if it is not among them. */
  readonly onSelect: (value: string | undefined) => void;
}

/** A text field with a list of choices that typing narrows down (ARIA Authoring Practices, combobox pattern). */
export function Combobox({
  label,
  isLabelShown = false,
  text,
  placeholder,
  choices,
  detail,
  allowsOther = false,
  isLoading = false,
  onOpen,
  onSelect,
}: ComboboxProps) {
  const id = useId();
  const list = useRef<HTMLDivElement>(null);
  const [isOpen, setOpen] = useState(false);
  // kept in state, so that a refresh of the page does not discard input
  const [draft, setDraft] = useState<string>();
  const [active, setActive] = useState(0);
  const listed = listedChoices(choices, draft, allowsOther);
  const activeIndex = Math.min(active, listed.length - 1);
  useLayoutEffect(() => {
    if (isOpen) list.current?.children[activeIndex]?.scrollIntoView({ block: 'nearest' });
  }, [isOpen, activeIndex]);

  const open = () => {
    if (isOpen) return;
    setOpen(true);
    // nothing is typed yet: the current choice is the active one
    setActive(Math.max(0, text === '' ? 0 : listed.findIndex((choice) => choice.text === text)));
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
  const onKeyDown = (event: KeyboardEvent) => {
    const step = event.key === 'ArrowDown' ? 1 : event.key === 'ArrowUp' ? -1 : 0;
    if (step !== 0 && !isOpen) open();
    else if (step !== 0) setActive((activeIndex + step + listed.length) % Math.max(1, listed.length));
    else if (event.key === 'Enter' && isOpen) select(listed[activeIndex]);
    else if (event.key === 'Escape' && isOpen) close();
    else return;
    // also keeps Escape from closing the panel that contains the field
    event.preventDefault();
    event.stopPropagation();
  };
  return (
    <span class="combobox">
      {isLabelShown && <label for={`${id}-field`}>{label}</label>}
      <input
        id={`${id}-field`}
        type="text"
        role="combobox"
        aria-label={isLabelShown ? undefined : label}
        aria-autocomplete="list"
        aria-expanded={isOpen}
        aria-controls={`${id}-list`}
        aria-activedescendant={isOpen && listed.length > 0 ? `${id}-${activeIndex}` : undefined}
        autocomplete="off"
        spellcheck={false}
        placeholder={placeholder}
        title={draft === undefined && text !== '' ? text : undefined}
        value={draft ?? text}
        onFocus={(event) => event.currentTarget.select()}
        onClick={(event) => {
          // also if the field has kept the focus
          if (!isOpen) event.currentTarget.select();
          open();
        }}
        onInput={(event) => {
          open();
          setDraft(event.currentTarget.value);
          setActive(0);
        }}
        onKeyDown={onKeyDown}
        onBlur={() => {
          // leaving the field applies what was typed only if it is one of the choices
          if (isOpen) select(draft === undefined ? undefined : choices.find((choice) => choice.text === draft));
        }}
      />
      <div
        id={`${id}-list`}
        ref={list}
        role="listbox"
        aria-label={label}
        aria-busy={isOpen && isLoading}
        hidden={!isOpen}
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
              {detail && <small>{detail(choice)}</small>}
            </div>
          ))}
        {isOpen && listed.length === 0 && (
          <div role="option" aria-disabled="true" aria-selected="false" tabIndex={-1}>
            {isLoading ? 'Loading…' : allowsOther ? 'Type a name' : 'Nothing matches.'}
          </div>
        )}
      </div>
    </span>
  );
}
