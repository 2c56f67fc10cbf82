import { useEffect, useRef, useState } from 'preact/hooks';
import { inView, type View } from './address.ts';
import { type Navigation, useNavigation } from './navigation.ts';

const KEY = 'rawlog.shortcuts';

/** How long after `g` the key of a view is expected, in milliseconds. */
const SEQUENCE_MS = 1_500;

const VIEW_KEYS: Readonly<Record<string, View>> = {
  o: 'overview',
  e: 'event',
  m: 'metric',
  f: 'funnel',
  r: 'retention',
  d: 'records',
  b: 'boards',
  h: 'health',
};

const RANGE_KEYS: Readonly<Record<string, string>> = { t: 'today', y: 'yesterday', 7: '7d', 3: '30d' };

/** Keys that press a button, by its `data-shortcut`. */
const BUTTON_KEYS: Readonly<Record<string, string>> = {
  d: 'range',
  f: 'filter',
  o: 'options',
  l: 'link',
  ',': 'earlier',
  '.': 'later',
};

/** The shortcuts as listed in the dialog. */
const LISTED: readonly { readonly title: string; readonly keys: readonly (readonly [string, string])[] }[] = [
  {
    title: 'Go to',
    keys: [
      ['g o', 'Overview'],
      ['g e', 'Events'],
      ['g m', 'Metrics'],
      ['g f', 'Funnels'],
      ['g r', 'Retention'],
      ['g d', 'Records'],
      ['g b', 'Boards'],
      ['g h', 'Health'],
    ],
  },
  {
    title: 'Range',
    keys: [
      ['t', 'Today'],
      ['y', 'Yesterday'],
      ['7', 'Last 7 days'],
      ['3', 'Last 30 days'],
      [',', 'Earlier'],
      ['.', 'Later'],
      ['d', 'Choose a range'],
      ['c', 'Compare with the previous period, or not'],
    ],
  },
  {
    title: 'View',
    keys: [
      ['f', 'Add filter'],
      ['o', 'Options'],
      ['l', 'Copy a link to this view'],
      ['/', 'Search'],
      ['r', 'Refresh now'],
      ['?', 'List the shortcuts'],
    ],
  },
];

/** Returns whether keys are text for an element, or select something in it. */
function takesKeys(target: EventTarget | null): boolean {
  return (
    target instanceof Element && target.closest('input, textarea, select, [contenteditable], [role=listbox]') !== null
  );
}

/** Moves the focus to the search field of the view, or to the first field of the filter editor. */
function focusSearch(): void {
  const field = document.querySelector<HTMLElement>('main [data-search], main input[type=search]');
  if (field) field.focus();
  else press('filter');
}

function press(name: string): void {
  document.querySelector<HTMLElement>(`[data-shortcut="${name}"]`)?.click();
}

/** Performs the action of a key. Returns false if it has none. */
function perform(key: string, { address, go }: Navigation, refresh: () => void): boolean {
  const range = RANGE_KEYS[key];
  const button = BUTTON_KEYS[key];
  if (range !== undefined) go({ range, from: undefined, to: undefined });
  else if (button !== undefined) press(button);
  else if (key === 'c') go({ compare: address.compare === undefined ? 'previous' : undefined });
  else if (key === '/') focusSearch();
  else if (key === 'r') refresh();
  else if (key === '?') press('help');
  else return false;
  return true;
}

/**
 * Handles the keyboard shortcuts of the page, except while the user types, with a modifier key, or while a dialog or a
 * panel is open.
 */
export function useShortcuts(refresh: () => void): void {
  const navigation = useNavigation();
  const latest = useRef({ navigation, refresh });
  latest.current = { navigation, refresh };
  useEffect(() => {
    let goPressedAt = Number.NEGATIVE_INFINITY;
    const onKeyDown = (event: KeyboardEvent) => {
      const { key, target, timeStamp } = event;
      if (event.defaultPrevented || event.ctrlKey || event.metaKey || event.altKey || event.isComposing) return;
      if (takesKeys(target) || document.querySelector('dialog[open], :popover-open') || !areShortcutsOn()) return;
      const view = timeStamp - goPressedAt < SEQUENCE_MS ? VIEW_KEYS[key] : undefined;
      goPressedAt = key === 'g' ? timeStamp : Number.NEGATIVE_INFINITY;
      if (view !== undefined) {
        const { address, go } = latest.current.navigation;
        go(inView(address, view));
      } else if (!perform(key, latest.current.navigation, latest.current.refresh)) return;
      event.preventDefault();
    };
    document.addEventListener('keydown', onKeyDown);
    return () => document.removeEventListener('keydown', onKeyDown);
  }, []);
}

/** Returns whether shortcuts are on in this browser. Single keys can conflict with speech input, so they can be off. */
function areShortcutsOn(): boolean {
  return localStorage.getItem(KEY) !== 'off';
}

/** A button that opens the list of keyboard shortcuts. */
export function ShortcutsButton() {
  const [isOpen, setOpen] = useState(false);
  return (
    <>
      <button
        type="button"
        class="icon help-button"
        title="Keyboard shortcuts"
        aria-label="Keyboard shortcuts"
        data-shortcut="help"
        onClick={() => setOpen(true)}
      >
        ?
      </button>
      {isOpen && <ShortcutsDialog onClose={() => setOpen(false)} />}
    </>
  );
}

function ShortcutsDialog({ onClose }: { onClose: () => void }) {
  const dialog = useRef<HTMLDialogElement>(null);
  const [isOn, setOn] = useState(areShortcutsOn);
  useEffect(() => dialog.current?.showModal(), []);
  const toggle = () => {
    if (isOn) localStorage.setItem(KEY, 'off');
    else localStorage.removeItem(KEY);
    setOn(!isOn);
  };
  return (
    <dialog ref={dialog} class="shortcuts" aria-labelledby="shortcuts" closedby="any" onClose={onClose}>
      <form method="dialog" class="dialog-head">
        <h2 id="shortcuts">Keyboard shortcuts</h2>
        <button type="submit" class="icon" aria-label="Close">
          ×
        </button>
      </form>
      <div class="shortcut-lists">
        {LISTED.map(({ title, keys }) => (
          <section key={title} aria-label={title}>
            <h3>{title}</h3>
            <dl>
              {keys.map(([key, action]) => (
                <div key={key}>
                  <dt>
                    {key.split(' ').map((part) => (
                      <kbd key={part}>{part}</kbd>
                    ))}
                  </dt>
                  <dd>{action}</dd>
                </div>
              ))}
            </dl>
          </section>
        ))}
      </div>
      <p class="quiet">
        On a chart, the arrow keys move between points, Shift and an arrow key pan, plus and minus zoom.
      </p>
      <label class="check">
        <input type="checkbox" checked={isOn} onChange={toggle} /> Use keyboard shortcuts in this browser
      </label>
    </dialog>
  );
}
