import type { ComponentChildren } from 'preact';
import { useId, useRef, useState } from 'preact/hooks';

interface PopoverProps {
  /** Accessible name of the panel and, unless the button has a text of its own, of the button. */
  readonly name: string;
  /** The content of the button. */
  readonly button: ComponentChildren;
  readonly buttonClass?: string;
  readonly title?: string | undefined;
  /** Identifies the button for keyboard shortcuts. */
  readonly shortcut?: string;
  /** The side of the button that the panel is aligned with. */
  readonly align?: 'start' | 'end';
  /** The content of the panel, which exists only while the panel is open. */
  readonly children: (close: () => void) => ComponentChildren;
}

/** Distance of the panel from its button and from the edges of the window, in pixels. */
const GAP = 6;

/**
 * A button that opens a panel. The browser closes the panel on Escape and on a click outside it, and returns the focus
 * to the button. The focus starts at the element with `data-first`.
 */
export function Popover(props: PopoverProps) {
  const { name, button, buttonClass = '', title, shortcut, align = 'start', children } = props;
  const id = useId();
  const trigger = useRef<HTMLButtonElement>(null);
  const panel = useRef<HTMLDivElement>(null);
  const [isOpen, setOpen] = useState(false);

  const place = () => {
    const box = trigger.current?.getBoundingClientRect();
    if (!box || !panel.current) return;
    const { style, offsetWidth } = panel.current;
    const width = document.documentElement.clientWidth;
    const left = align === 'start' ? box.left : box.right - offsetWidth;
    const max = Math.max(GAP, width - offsetWidth - GAP);
    style.setProperty('--x', `${Math.min(Math.max(GAP, left), max) + scrollX}px`);
    style.setProperty('--y', `${box.bottom + GAP + scrollY}px`);
  };
  const onToggle = ({ newState }: Pick<ToggleEvent, 'newState'>) => {
    // not before: while the panel closes, the browser checks whether it contains the focus
    if (newState === 'closed') {
      setOpen(false);
      return;
    }
    place();
    panel.current?.querySelector<HTMLElement>('[data-first]')?.focus({ preventScroll: true });
  };
  return (
    <>
      <button
        ref={trigger}
        type="button"
        class={buttonClass}
        title={title}
        popovertarget={id}
        aria-haspopup="dialog"
        data-shortcut={shortcut}
      >
        {button}
      </button>
      <div
        ref={panel}
        id={id}
        class="popover"
        popover="auto"
        role="dialog"
        aria-label={name}
        onBeforeToggle={({ newState }) => {
          if (newState !== 'open') return;
          place();
          setOpen(true);
        }}
        onToggle={onToggle}
      >
        {isOpen && children(() => panel.current?.hidePopover())}
      </div>
    </>
  );
}
