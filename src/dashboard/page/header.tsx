import { useEffect, useRef, useState } from 'preact/hooks';
import { inView, VIEWS, type View } from './address.ts';
import { Caret } from './controls/icons.tsx';
import { Popover } from './controls/popover.tsx';
import { Segmented } from './controls/segmented.tsx';
import { formatText } from './format.ts';
import { Link } from './links.tsx';
import { useNavigation } from './navigation.ts';
import type { Session } from './session.ts';
import { ShortcutsButton } from './shortcuts.tsx';
import { chooseTheme, chosenTheme } from './theme.ts';
import { useQuery } from './use-query.ts';

/** Titles of the views. */
export const TITLES: Record<View, string> = {
  overview: 'Overview',
  event: 'Events',
  metric: 'Metrics',
  funnel: 'Funnels',
  retention: 'Retention',
  records: 'Records',
  boards: 'Boards',
  health: 'Health',
};

/** The header of the page: its name, the views, and the account. */
export function Header({ session, onSignOut }: { session: Session; onSignOut: () => void }) {
  const { address } = useNavigation();
  const nav = useRef<HTMLElement>(null);
  // on a phone, the views scroll sideways
  // biome-ignore lint/correctness/useExhaustiveDependencies: the current link changes with the view
  useEffect(() => {
    const current = nav.current?.querySelector<HTMLElement>('[aria-current]');
    if (!nav.current || !current) return;
    nav.current.scrollLeft =
      current.offsetLeft - nav.current.offsetLeft - (nav.current.clientWidth - current.offsetWidth) / 2;
  }, [address.view]);
  return (
    <header class="top">
      <b class="brand">
        <Mark />
        rawlog
      </b>
      <nav ref={nav} aria-label="Views">
        {VIEWS.map((view) => (
          <Link key={view} to={inView(address, view)} current={address.view === view}>
            {TITLES[view]}
          </Link>
        ))}
      </nav>
      <div class="session">
        <ShortcutsButton />
        <AccountMenu session={session} onSignOut={onSignOut} />
      </div>
    </header>
  );
}

/** The mark of the product: lines of a log. */
export function Mark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" width="22" height="22" aria-hidden="true">
      <rect width="32" height="32" rx="8" />
      <path d="M8 10h16M8 16h10M8 22h13" />
    </svg>
  );
}

/** The signed-in user, the theme, and the button that signs out. */
function AccountMenu({ session, onSignOut }: { session: Session; onSignOut: () => void }) {
  const name = formatText(session.userId);
  const role = useRole(session);
  const badge = role && <small class="badge">{role}</small>;
  return (
    <Popover
      name="Account"
      align="end"
      buttonClass="account-button"
      button={
        <>
          <span class="avatar" aria-hidden="true">
            {[...name.replace('(', '')].slice(0, 1).join('').toUpperCase()}
          </span>
          <span class="account-name">
            <span class="visually-hidden">Account: </span>
            <span class="id">{name}</span> {badge}
          </span>
          <Caret />
        </>
      }
    >
      {() => (
        <div class="account">
          <p>
            <span class="id">{name}</span> {badge}
          </p>
          <ThemeControl />
          <button type="button" onClick={onSignOut}>
            Sign out
          </button>
        </div>
      )}
    </Popover>
  );
}

/** Returns the role of the user, or what a user without a role can see; undefined: only their own rows. */
function useRole(session: Session): string | undefined {
  // paused: a token's role does not change
  const { value } = useQuery('/api/status', {}, '', true);
  if (session.isAdmin) return 'admin';
  // the claim with the role is configurable, so only the response tells
  return value?.ledger ? 'all users' : undefined;
}

function ThemeControl() {
  const [theme, setTheme] = useState(chosenTheme);
  return (
    <Segmented
      label="Theme"
      options={[
        { value: 'system', label: 'System' },
        { value: 'light', label: 'Light' },
        { value: 'dark', label: 'Dark' },
      ]}
      value={theme}
      onSelect={(chosen) => {
        chooseTheme(chosen);
        setTheme(chosen);
      }}
    />
  );
}
