import { useCallback, useEffect, useMemo, useState } from 'preact/hooks';
import { linkTo } from './address.ts';
import { Providers } from './boards/providers.tsx';
import { UTC, ZoneContext, zoneOf } from './calendar.ts';
import { CatalogContext, catalogOf, UNKNOWN } from './catalog.ts';
import { onClockStep, serverNow } from './clock.ts';
import { ControlBar } from './controls/control-bar.tsx';
import { formatText } from './format.ts';
import { Header, TITLES } from './header.tsx';
import { NavigationContext, useBrowserNavigation, useNavigation } from './navigation.ts';
import { clearToken, currentSession, type Session } from './session.ts';
import { useShortcuts } from './shortcuts.tsx';
import { useSignInLink } from './sign-in-link.ts';
import { ErrorBoundary, ErrorMessage, Loading, UserHasNoRows } from './states.tsx';
import { isUnknownName, UnknownName } from './unknown-name.tsx';
import { type QuerySession, QuerySessionContext, useQuery, useRefresh } from './use-query.ts';
import { Boards } from './views/boards.tsx';
import { DemoBanner } from './views/demo-banner.tsx';
import { EventView } from './views/event.tsx';
import { FirstMinutes } from './views/first-minutes.tsx';
import { FunnelView } from './views/funnel.tsx';
import { Health } from './views/health.tsx';
import { Ledger } from './views/ledger.tsx';
import { MetricView } from './views/metric.tsx';
import { Overview } from './views/overview.tsx';
import { Records } from './views/records.tsx';
import { RetentionView } from './views/retention.tsx';
import { SignIn } from './views/sign-in.tsx';
import { SwitchUser } from './views/switch-user.tsx';

/**
 * Renders the page: the signed-in dashboard, or the sign-in form.
 *
 * @param code the code of the sign-in link that opened the page
 */
export function App({ code }: { code: string | undefined }) {
  const navigation = useBrowserNavigation();
  const [session, setSession] = useState(currentSession);
  const [reason, setReason] = useState<string>();
  const onSignedIn = useCallback(() => setSession(currentSession()), []);
  const link = useSignInLink(code, onSignedIn);

  useEffect(() => {
    const { view, name } = navigation.address;
    document.title = `${TITLES[view]}${name === undefined ? '' : `: ${formatText(name)}`} · rawlog`;
  });

  const { error: linkError, clear } = link;
  const signOut = useCallback(
    (signOutReason?: string) => {
      clearToken();
      clear();
      setReason(signOutReason);
      setSession(currentSession()); // after the demo, the user's own
    },
    [clear],
  );
  const onTokenAccepted = () => {
    clear();
    onSignedIn();
  };
  const page = () => {
    if (session) {
      return (
        <SignedIn
          key={session.token}
          session={session}
          onSignOut={signOut}
          linkError={linkError}
          onLinkErrorDismissed={clear}
        />
      );
    }
    if (link.isSigningIn) return <Loading />;
    return <SignIn reason={reason} linkError={linkError} onSignedIn={onTokenAccepted} />;
  };
  return (
    <NavigationContext.Provider value={navigation}>
      {page()}
      {session && link.offered !== undefined && (
        <SwitchUser current={session.userId} offered={link.offered} onDecided={link.decide} />
      )}
    </NavigationContext.Provider>
  );
}

interface SignedInProps {
  readonly session: Session;
  readonly onSignOut: (reason?: string) => void;
  /** Why a sign-in link was rejected; the session continues. */
  readonly linkError: string | undefined;
  readonly onLinkErrorDismissed: () => void;
}

function SignedIn({ session, onSignOut, linkError, onLinkErrorDismissed }: SignedInProps) {
  const { address } = useNavigation();
  const [refreshCount, setRefreshCount] = useState(0);
  const [isReachable, setReachable] = useState(true);
  const refresh = useCallback(() => setRefreshCount((count) => count + 1), []);
  const url = linkTo(address);
  // biome-ignore lint/correctness/useExhaustiveDependencies: each refresh and each navigation reads the clock again
  const now = useMemo(serverNow, [refreshCount, url]);

  useRefresh(address.refresh, refresh);
  useEffect(() => onClockStep(refresh), [refresh]);
  useShortcuts(refresh);

  const { token } = session;
  const querySession = useMemo(
    (): QuerySession => ({ token, now, refresh, onUnauthorized: onSignOut, onReachable: setReachable }),
    [token, now, refresh, onSignOut],
  );
  return (
    <QuerySessionContext.Provider value={querySession}>
      <a class="skip" href="#content">
        Skip to content
      </a>
      <Header session={session} onSignOut={() => onSignOut()} />
      {linkError && (
        <p class="banner" role="alert">
          {linkError} You are still signed in.{' '}
          <button type="button" onClick={onLinkErrorDismissed}>
            Dismiss
          </button>
        </p>
      )}
      {!isReachable && (
        <p class="banner" role="alert">
          Cannot reach the server. Retrying… The data shown may be out of date.
        </p>
      )}
      {session.isDemo && <DemoBanner />}
      <Content session={session} />
    </QuerySessionContext.Provider>
  );
}

/** Maximum number of names to choose from. Nobody scrolls through a longer list. */
const MAX_CHOICES = 500;

/** Renders the current view once the catalog and the time zone have loaded. */
function Content({ session }: { session: Session }) {
  const { address } = useNavigation();
  const user_id = address.user;
  const status = useQuery('/api/status', {});
  const [choices, setChoices] = useState(MAX_CHOICES);
  const all = useQuery('/api/activity', { top: choices, user_id }, JSON.stringify([user_id, choices]));
  // the list can exceed MAX_RESULT_BYTES when names are long; then load only the first name and the extent
  const isTooLarge = all.error?.status === 422;
  useEffect(() => {
    if (isTooLarge) setChoices(1);
  }, [isTooLarge]);
  // paused: the offsets of a zone do not depend on the current time
  const rules = useQuery('/api/zone', { tz: address.zone }, address.zone, true);
  const zone = useMemo(() => rules.value && zoneOf(rules.value), [rules.value]);
  const catalog = useMemo(() => (all.value ? catalogOf(all.value) : UNKNOWN), [all.value]);
  // the server decides; until it responds, trust the role in the token
  const canSeeAllUsers = status.value ? status.value.ledger !== undefined : session.isAdmin;
  const view = () => {
    if (zone === undefined) return rules.error ? <ErrorMessage error={rules.error} retry={rules.retry} /> : <Loading />;
    if (all.value === undefined) {
      if (!all.error || (isTooLarge && choices > 1)) return <Loading />;
      // render the view without the catalog: its own queries may succeed
      if (!isTooLarge) return <ErrorMessage error={all.error} retry={all.retry} />;
    }
    if (catalog.rows === 0) {
      if (user_id !== undefined) return <UserHasNoRows />;
      return (
        <>
          <FirstMinutes canStartDemo={session.isAdmin} />
          <Ledger status={status} />
        </>
      );
    }
    const { view: shownView, name } = address;
    if (name !== undefined && (shownView === 'metric' || shownView === 'event')) {
      const names = shownView === 'metric' ? catalog.metrics : catalog.types;
      if (isUnknownName(name, names)) return <UnknownName kind={shownView} name={name} />;
    }
    switch (address.view) {
      case 'overview':
        return <Overview canSeeAllUsers={canSeeAllUsers} />;
      case 'event':
        return <EventView />;
      case 'metric':
        return <MetricView />;
      case 'funnel':
        return <FunnelView />;
      case 'retention':
        return <RetentionView />;
      case 'records':
        return <Records />;
      case 'boards':
        return <Boards />;
      case 'health':
        return <Health status={status} />;
    }
  };
  return (
    <CatalogContext.Provider value={catalog}>
      <ZoneContext.Provider value={zone ?? UTC}>
        <Providers
          isReady={zone !== undefined && all.value !== undefined}
          isAdmin={session.isAdmin}
          canSeeAllUsers={canSeeAllUsers}
          canHaveBoards={!session.isDemo}
        >
          <ControlBar canSeeAllUsers={canSeeAllUsers} isZoneLoaded={zone !== undefined} />
          <main id="content" tabIndex={-1}>
            <h1 class="visually-hidden">{TITLES[address.view]}</h1>
            <ErrorBoundary url={linkTo(address)}>
              <div aria-busy={all.isLoading}>{view()}</div>
            </ErrorBoundary>
          </main>
        </Providers>
      </ZoneContext.Provider>
    </CatalogContext.Provider>
  );
}
