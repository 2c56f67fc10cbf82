import { useContext, useId, useRef, useState } from 'preact/hooks';
import { controlDemo, type RequestError, toRequestError } from '../api.ts';
import { enterDemo } from '../session.ts';
import { QuerySessionContext, useRefresh } from '../use-query.ts';

/** Interval of checks for the first row, in seconds. */
const FIRST_ROW_POLL_SECONDS = 2;

/** Ways to send, with a program that works as pasted. */
const WAYS = [
  {
    name: 'curl',
    where: 'Run this in a terminal.',
    program: (origin: string, token: string) =>
      `curl -X POST ${origin}/log_raw_metric -H 'Authorization: Bearer ${token}' -H 'Content-Type: application/json' -d '{"metric_name":"page_load_time","metric_value":2.5,"data_string":"/dashboard"}'`,
  },
  {
    name: 'Browser',
    where:
      'Run this in the console of this page, or in your web app once its origin is in CORS_ORIGINS. The TypeScript client in client/ also batches, and retries what could not be sent.',
    program: (origin: string, token: string) => `await fetch('${origin}/log_raw_analytics', {
  method: 'POST',
  headers: {
    'Authorization': 'Bearer ${token}',
    'Content-Type': 'application/json',
  },
  body: JSON.stringify({ type: 'signup', data: { plan: 'pro' }, data_index: 'newsletter' }),
});`,
  },
  {
    name: 'Python',
    where: 'Install the client from a clone with "pip install ./client/python", then run this.',
    program: (origin: string, token: string) => `from rawlog import Client

with Client("${origin}", "${token}") as log:
    log.metric("page_load_time", 2.5, "/dashboard")
    log.track("signup", {"plan": "pro"}, "newsletter")`,
  },
] as const;

/** Shown when nothing has been recorded yet: how to send the first row, and the demo. */
export function FirstMinutes({ canStartDemo }: { canStartDemo: boolean }) {
  const { refresh } = useContext(QuerySessionContext);
  useRefresh(FIRST_ROW_POLL_SECONDS, refresh);
  return (
    <section class="panel empty first-minutes" aria-labelledby="first-minutes">
      <h2 id="first-minutes">Send your first row</h2>
      <p class="quiet">
        Pick a way and copy it. It contains your token, so keep it to yourself. This page turns into your dashboard as
        soon as the row arrives.
      </p>
      <Ways />
      <p class="first-minutes-wait" role="status">
        <span class="lamp" aria-hidden="true" /> Waiting for the first row…
      </p>
      <p>
        <a href="/swagger">API documentation</a>
      </p>
      {canStartDemo && <DemoOffer />}
    </section>
  );
}

/** The ways to send, as tabs. */
function Ways() {
  const { token } = useContext(QuerySessionContext);
  const id = useId();
  const [chosen, setChosen] = useState(0);
  const [copied, setCopied] = useState<string>();
  const tabs = useRef<HTMLDivElement>(null);
  const way = WAYS[chosen] ?? WAYS[0];
  const program = way.program(location.origin, token);
  const copy = () =>
    navigator.clipboard.writeText(program).then(
      () => setCopied(way.name),
      () => setCopied(undefined),
    );
  const onKeyDown = (event: KeyboardEvent) => {
    const step = { ArrowRight: 1, ArrowLeft: -1 }[event.key];
    if (step === undefined) return;
    event.preventDefault();
    const next = (chosen + step + WAYS.length) % WAYS.length;
    setChosen(next);
    const tab = tabs.current?.children[next];
    if (tab instanceof HTMLElement) tab.focus();
  };
  return (
    <>
      <div class="tabs" role="tablist" aria-label="Ways to send" ref={tabs}>
        {WAYS.map(({ name }, i) => (
          <button
            key={name}
            type="button"
            role="tab"
            id={`${id}-tab-${i}`}
            aria-selected={i === chosen}
            aria-controls={`${id}-panel`}
            tabIndex={i === chosen ? 0 : -1}
            onClick={() => setChosen(i)}
            onKeyDown={onKeyDown}
          >
            {name}
          </button>
        ))}
      </div>
      <div role="tabpanel" id={`${id}-panel`} aria-labelledby={`${id}-tab-${chosen}`}>
        <pre>
          <code>{program}</code>
        </pre>
        <p class="first-minutes-copy">
          <button type="button" class="primary" onClick={() => void copy()}>
            {copied === way.name ? 'Copied' : 'Copy'}
          </button>
          <span class="quiet">{way.where}</span>
        </p>
      </div>
    </>
  );
}

/** A button that fills a separate database with invented data, and shows it. */
function DemoOffer() {
  const { token } = useContext(QuerySessionContext);
  const [isStarting, setStarting] = useState(false);
  const [error, setError] = useState<RequestError>();
  const start = async () => {
    setStarting(true);
    setError(undefined);
    try {
      const demoToken = await controlDemo('POST', token);
      if (demoToken === undefined) return;
      enterDemo(demoToken);
      location.assign('/?range=7d&compare=previous');
    } catch (thrown) {
      setError(toRequestError(thrown));
    }
    setStarting(false);
  };
  return (
    <div class="first-minutes-demo">
      <p>
        <b>Only looking around?</b> The demo is three months of an invented shop, in its own database.
      </p>
      <button type="button" disabled={isStarting} onClick={() => void start()}>
        {isStarting ? 'Writing three months of data…' : 'Explore with demo data'}
      </button>
      {error && (
        <p role="alert">
          {error.message}. {error.hint}
        </p>
      )}
    </div>
  );
}
