import { useCallback, useEffect, useMemo, useState } from 'preact/hooks';
import { inView, linkTo, VIEWS, type View } from './address.ts';
import { type Asking, AskingContext, useAnswer, useRefresh } from './answer.ts';
import { UTC, ZoneContext, zoneOf } from './calendar.ts';
import { CatalogContext, catalogOf, UNKNOWN } from './catalog.ts';
import { onClockStep, serverNow } from './clock.ts';
import { Controls } from './controls.tsx';
import { formatText } from './format.ts';
import { Link } from './links.tsx';
import { PlaceContext, useBrowserAddress, usePlace } from './place.ts';
import { currentSession, forgetToken, type Session } from './session.ts';
import { useSignInLink } from './sign-in-link.ts';
import { Boundary, Empty, Failure, Loading, NoRowsOfUser } from './states.tsx';
import { chooseTheme, chosenTheme, THEMES } from './theme.ts';
import { EventView } from './views/event.tsx';
import { Ledger } from './views/ledger.tsx';
import { MetricView } from './views/metric.tsx';
import { Overview } from './views/overview.tsx';
import { Records } from './views/records.tsx';
import { SignIn } from './views/sign-in.tsx';
import { SwitchUser } from './views/switch-user.tsx';

const TITLES: Record<View, string> = { overview: 'Overview', metric: 'Metrics', event: 'Events', records: 'Records' };

/**
 * The page: who is signed in, where they are, and what they see there.
 *
 * @param code of the sign-in link that the page was opened with
 */
export function App({ code }: { code: string | undefined }) {
  const place = useBrowserAddress();
  const [session, setSession] = useState(currentSession);
  const [reason, setReason] = useState<string>();
  const onSignedIn = useCallback(() => setSession(currentSession()), []);
  const link = useSignInLink(code, onSignedIn);

  useEffect(() => {
    const { view, name } = place.address;
    document.title = `${TITLES[view]}${name === undefined ? '' : `: ${formatText(name)}`} · rawlog`;
  });

  const { failure: failedLink, forget } = link;
  const end = useCallback(
    (why?: string) => {
      forgetToken();
      forget();
      setReason(why);
      setSession(undefined);
    },
    [forget],
  );
  const onTokenPasted = () => {
    forget();
    onSignedIn();
  };
  const page = () => {
    if (session) {
      return (
        <SignedIn key={session.token} session={session} onEnd={end} failedLink={failedLink} onLinkForgotten={forget} />
      );
    }
    if (link.isSigningIn) return <Loading />;
    return <SignIn reason={reason} failedLink={failedLink} onSignedIn={onTokenPasted} />;
  };
  return (
    <PlaceContext.Provider value={place}>
      {page()}
      {session && link.offered !== undefined && (
        <SwitchUser current={session.userId} offered={link.offered} onDecided={link.decide} />
      )}
    </PlaceContext.Provider>
  );
}

interface SignedInProps {
  readonly session: Session;
  readonly onEnd: (why?: string) => void;
  /** Why a sign-in link was not accepted: the session goes on. */
  readonly failedLink: string | undefined;
  readonly onLinkForgotten: () => void;
}

function SignedIn({ session, onEnd, failedLink, onLinkForgotten }: SignedInProps) {
  const { address } = usePlace();
  const [turn, setTurn] = useState(0);
  const [isReached, setReached] = useState(true);
  const again = useCallback(() => setTurn((before) => before + 1), []);
  const place = linkTo(address);
  // biome-ignore lint/correctness/useExhaustiveDependencies: each turn, and each place, has a moment of its own
  const now = useMemo(serverNow, [turn, place]);

  useRefresh(address.refresh, again);
  useEffect(() => onClockStep(again), [again]);

  const { token } = session;
  const asking = useMemo(
    (): Asking => ({ token, now, again, onUnauthorized: onEnd, onReached: setReached }),
    [token, now, again, onEnd],
  );
  return (
    <AskingContext.Provider value={asking}>
      <a class="skip" href="#content">
        To the content
      </a>
      <header>
        <b class="brand">rawlog</b>
        <nav aria-label="Views">
          {VIEWS.map((view) => (
            <Link key={view} to={inView(address, view)} current={address.view === view}>
              {TITLES[view]}
            </Link>
          ))}
        </nav>
        <span class="session">
          <span>
            {session.userId} {session.isAdmin && <small>admin</small>}
          </span>
          <ThemeControl />
          <button type="button" onClick={() => onEnd()}>
            Sign out
          </button>
        </span>
      </header>
      {failedLink && (
        <p class="unreached" role="alert">
          {failedLink} You are still signed in.{' '}
          <button type="button" onClick={onLinkForgotten}>
            Close
          </button>
        </p>
      )}
      {!isReached && (
        <p class="unreached" role="alert">
          The server does not answer. It is asked again until it does; what you see may be old.
        </p>
      )}
      <Content session={session} />
    </AskingContext.Provider>
  );
}

/** How many names are offered to choose from, at most: a longer list is none to choose from. */
const MAX_CHOICES = 500;

/** What the address names, as soon as it is known what there is. */
function Content({ session }: { session: Session }) {
  const { address } = usePlace();
  const user_id = address.user;
  const status = useAnswer('/api/status', {});
  const [choices, setChoices] = useState(MAX_CHOICES);
  const all = useAnswer('/api/activity', { top: choices, user_id }, JSON.stringify([user_id, choices]));
  // long names can be too many, too: the first one, and when there are rows, is known all the same
  const isTooLarge = all.failure?.status === 422;
  useEffect(() => {
    if (isTooLarge) setChoices(1);
  }, [isTooLarge]);
  // the rules of a zone are the same at every moment
  const rules = useAnswer('/api/zone', { tz: address.zone }, address.zone, true);
  const zone = useMemo(() => rules.value && zoneOf(rules.value), [rules.value]);
  const catalog = useMemo(() => (all.value ? catalogOf(all.value) : UNKNOWN), [all.value]);
  // the server decides: what the token says is a guess until it has
  const seesAll = status.value ? status.value.ledger !== undefined : session.isAdmin;
  const view = () => {
    if (zone === undefined)
      return rules.failure ? <Failure failure={rules.failure} retry={rules.retry} /> : <Loading />;
    if (all.value === undefined) {
      if (!all.failure || (isTooLarge && choices > 1)) return <Loading />;
      // the views have queries of their own, which may succeed
      if (!isTooLarge) return <Failure failure={all.failure} retry={all.retry} />;
    }
    if (catalog.rows === 0) {
      if (user_id !== undefined) return <NoRowsOfUser />;
      return (
        <>
          <Empty />
          <Ledger status={status} />
        </>
      );
    }
    if (address.view === 'metric') return <MetricView />;
    if (address.view === 'event') return <EventView />;
    if (address.view === 'records') return <Records />;
    return <Overview status={status} />;
  };
  return (
    <CatalogContext.Provider value={catalog}>
      <ZoneContext.Provider value={zone ?? UTC}>
        <Controls seesAll={seesAll} isZoneKnown={zone !== undefined} />
        <main id="content" tabIndex={-1}>
          <h1 class="unseen">{TITLES[address.view]}</h1>
          <Boundary place={linkTo(address)}>
            <div aria-busy={all.isLoading}>{view()}</div>
          </Boundary>
        </main>
      </ZoneContext.Provider>
    </CatalogContext.Provider>
  );
}

function ThemeControl() {
  const [theme, setTheme] = useState(chosenTheme);
  return (
    <label>
      <span class="unseen">Colours</span>
      <select
        value={theme}
        onChange={(event) => {
          const chosen = THEMES.find((one) => one === event.currentTarget.value) ?? 'system';
          chooseTheme(chosen);
          setTheme(chosen);
        }}
      >
        <option value="system">as the system</option>
        <option value="light">light</option>
        <option value="dark">dark</option>
      </select>
    </label>
  );
}
