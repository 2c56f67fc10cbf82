import type { Retention } from '../formats/retention.ts';
import type { ForwardingClient } from '../forwarding/client.ts';
import type { CommitQueue } from '../ingest/commit-queue.ts';
import type { Ledger } from '../ingest/ledger.ts';
import type { QueryClient } from '../query/client.ts';
import type { OperatorStatus } from '../responses.ts';
import { createImportSessions } from './import-session.ts';
import type { ControlContext, ControlHandlers } from './listener.ts';
import type { ErasedUser, PruneReport } from './protocol.ts';

/** The parts of the server that commands use. */
export interface ControlParts extends Pick<QueryClient, 'maintain'> {
  readonly queue: Pick<CommitQueue, 'store'>;
  readonly ledger: Pick<Ledger, 'stored'>;
  /** Assigns an ID, which is greater than all earlier ones. */
  readonly nextId: () => { readonly seq: number };
  readonly maxClockSkewUs: number;
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number;
  /** Called after work that may have restarted the write-ahead log. */
  readonly stampWal: () => void;
  /** Called if an import could not be finished: the next catch-up then does. */
  readonly resumeLater: () => void;
  readonly erase: (userId: string, onProgress: ControlContext['onProgress']) => Promise<ErasedUser>;
  /** Deletes the expired records, by the settings of the server if no retention is given. Throws if nothing expires. */
  readonly prune: (
    retention: Retention | undefined,
    isDryRun: boolean,
    onProgress: ControlContext['onProgress'],
  ) => Promise<PruneReport>;
  readonly forwarding: Pick<ForwardingClient, 'statuses' | 'run'>;
  readonly status: () => Promise<OperatorStatus>;
  /** Returns the metrics in the Prometheus text format. */
  readonly metrics: () => Promise<string>;
}

/** Creates the implementations of the commands: see protocol.ts. */
export function createControlHandlers(parts: ControlParts): ControlHandlers {
  const { queue, ledger, maintain, stampWal, forwarding } = parts;

  async function rebuild(onProgress: ControlContext['onProgress']): Promise<void> {
    await maintain('rebuild', undefined, onProgress);
    stampWal();
  }

  const imports = createImportSessions({
    async begin() {
      const { seq } = parts.nextId();
      // requests commit in the order of their IDs: once this resolves, all earlier ones are committed
      await queue.store([], 0);
      return seq;
    },
    async store(text, newestSeq) {
      const latest = parts.now() * 1000 + parts.maxClockSkewUs;
      const { outcomes, failure } = await maintain('importBatch', { text, latest, newestSeq });
      ledger.stored(outcomes.filter((outcome) => outcome === 'stored').length);
      stampWal();
      if (failure !== undefined) throw new Error(failure);
      return outcomes;
    },
    async finish(onProgress) {
      try {
        await queue.store([], 0); // its fsync makes all earlier commits durable
        await maintain('finishImport', undefined, onProgress);
        stampWal();
      } catch (error) {
        parts.resumeLater();
        throw error;
      }
    },
  });

  return {
    erase: ({ user_id }, { onProgress }) => parts.erase(user_id, onProgress),
    prune: async ({ retention, is_dry_run: isDryRun }, { onProgress }) => parts.prune(retention, isDryRun, onProgress),
    async rebuild(_argument, { onProgress }) {
      await rebuild(onProgress);
      return null;
    },
    status: parts.status,
    metrics: parts.metrics,
    'forward-status': async () => forwarding.statuses() ?? [],
    'forward-retry': ({ sink }) => forwarding.run({ do: 'retry', sink }),
    async 'forward-drop'({ sink }) {
      const sinks = forwarding.statuses();
      if (!sinks) throw new Error('The forwarder is starting. Retry in a minute.');
      if (sinks.some(({ name }) => name === sink)) {
        throw new Error('The sink is in FORWARD_URL of the running server. Remove it there, and send SIGHUP.');
      }
      return maintain('dropSink', sink);
    },
    async 'forward-reset'({ sink, seq }) {
      await forwarding.run({ do: 'reset', sink, seq });
      return null;
    },
    async import(_argument, { onProgress, signal }) {
      const ready = { phase: 'importing', done: 0, total: 1 };
      await imports.run(() => onProgress(ready), signal, onProgress);
      return null;
    },
    'import-batch': async (_argument, { readBody }) => imports.store(await readBody()),
    async 'import-missing'({ kind }, { readBody }) {
      const ids: unknown = JSON.parse(await readBody());
      if (!Array.isArray(ids)) throw new Error('the body is not a JSON array');
      return maintain('findMissingSources', { kind, ids: ids.map(String) });
    },
    async 'import-end'() {
      imports.end();
      return null;
    },
  };
}
