import type { Responses } from '../api.ts';
import { Figure } from '../figures.tsx';
import { formatBytes, formatCount, formatDuration } from '../format.ts';
import { QueryResult } from '../states.tsx';
import type { QueryState } from '../use-query.ts';
import { type Check, checksOf } from './health-checks.ts';
import { Ledger } from './ledger.tsx';
import { RowRate } from './row-rate.tsx';
import { Backups, Sinks, Storage } from './storage.tsx';

type Status = Responses['/api/status'];

/** The state of the server: what needs attention, rows per minute, ledger, storage, backups, forwarding, durability. */
export function Health({ status }: { status: QueryState<Status> }) {
  const checks = status.value ? checksOf(status.value) : [];
  return (
    <>
      {checks.length > 0 && <Checks checks={checks} />}
      <RowRate />
      <div class="columns">
        <Ledger status={status} />
        <Storage status={status} />
      </div>
      <div class="columns">
        <Backups status={status} />
        <Sinks status={status} />
        <section class="panel" aria-labelledby="server">
          <h2 id="server">Server</h2>
          <QueryResult query={status}>{(value) => <Server status={value} />}</QueryResult>
        </section>
      </div>
    </>
  );
}

/** The words for the states of a check. */
const STATES: Record<Check['state'], string> = { ok: 'OK', attention: 'Attention', off: 'Off' };

/** Whether everything is well, and the state of each part. */
function Checks({ checks }: { checks: readonly Check[] }) {
  const count = checks.filter(({ state }) => state === 'attention').length;
  return (
    <section class="panel health" aria-labelledby="health">
      <h2 id="health">
        {count === 0 ? 'Everything is well' : `${count} ${count === 1 ? 'part needs' : 'parts need'} attention`}
      </h2>
      <ul class="health-checks">
        {checks.map(({ title, state, text }) => (
          <li key={title} class={`health-check ${state}`}>
            <span class="health-state">{STATES[state]}</span>
            <b>{title}</b>
            <span class="quiet">{text}</span>
          </li>
        ))}
      </ul>
    </section>
  );
}

/** Durability, version, limits and load. */
function Server({ status }: { status: Status }) {
  const { queue, durability, version, uptime_seconds, limits } = status;
  return (
    <>
      {queue && (
        <dl class="figures">
          <Figure label="Rows queued" value={queue.rows} format={formatCount}>
            limit: {formatCount(queue.max_rows)}
          </Figure>
        </dl>
      )}
      <p>
        Durability: rows are acknowledged <b>{durability.acknowledged}</b> ({durability.journal.toUpperCase()} mode).
        Version {version}
        {uptime_seconds !== undefined && `, up for ${formatDuration(uptime_seconds)}`}.
      </p>
      <p>
        Limits: {formatBytes(limits.max_body_bytes)} per request, {formatCount(limits.max_batch_items)} items per batch.
      </p>
    </>
  );
}
