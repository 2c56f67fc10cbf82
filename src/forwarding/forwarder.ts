import type { ForwardUrl } from '../formats/forward-url.ts';
import { KINDS } from '../records.ts';
import { millisecondOf } from '../storage/record-id.ts';
import type { SinkStore } from '../storage/sink-store.ts';
import { type Delivery, type DeliveryEvent, type SinkAccess, startDelivery } from './delivery.ts';
import { MAX_LAG_ROWS, type SinkStatus } from './status.ts';

/** How often the forwarder looks for commits of other connections, in milliseconds: well below the second that rows may take. */
const POLL_MS = 250;
/** Shortest time between two measurements of the lag, in milliseconds. */
const MEASURE_MS = 1_000;
/** A measurement takes at most this part of the time, because it reads rows that a full disk cache may not hold. */
const MEASURE_SHARE = 1 / 20;
/** Rows that are counted per statement: a few milliseconds. */
const COUNTED_ROWS = 50_000;
/** Transactions of imports that are counted per statement: a few milliseconds. */
const COUNTED_IMPORTS = 1_000;

/** The forwarder of a database. */
export interface Forwarder {
  statuses(): SinkStatus[];
  /**
   * Delivers the dead letters and the postponed rows of a sink again, now. Returns their number.
   *
   * @throws {UnknownSinkError}
   */
  retry(name: string): number;
  /**
   * Delivers all rows from a `seq` on again.
   *
   * @throws {UnknownSinkError}
   */
  reset(name: string, seq: number): void;
  /** Stops all deliveries. */
  close(): Promise<void>;
}

/** What the forwarder tells. */
export interface ForwarderEvents {
  readonly onEvent: (sink: string, event: DeliveryEvent) => void;
  /** Called after a transaction, which may have restarted the write-ahead log. */
  readonly onSaved: () => void;
  /** Called when {@link Forwarder.statuses} was measured again. */
  readonly onStatus: () => void;
}

/** The error of a command about a sink that is not in FORWARD_URL. */
export class UnknownSinkError extends Error {
  override readonly name = 'UnknownSinkError';
}

/** What was measured of a sink. */
interface Lag {
  readonly rows: number;
  /** When the oldest row was received, in milliseconds since 1970; undefined if there is none. */
  readonly oldestAt: number | undefined;
}

/** Starts to deliver the rows of a database to all sinks. Each has its own loop, so none waits for another. */
export function startForwarder(
  store: SinkStore,
  urls: readonly ForwardUrl[],
  access: SinkAccess,
  { onEvent, onSaved, onStatus }: ForwarderEvents,
): Forwarder {
  const lags = new Map<string, Lag>();
  const deliveries = new Map<string, Delivery>(
    urls.map((given) => {
      // a sink keeps the name under which it is stored
      const url = { ...given, name: store.find(given.name)?.name ?? given.name };
      const tell = (event: DeliveryEvent) => {
        if (lags.size === urls.length) onStatus(); // not before the first measurement
        onEvent(url.name, event);
      };
      return [url.name, startDelivery(url, access, store, tell, onSaved)];
    }),
  );
  let version = store.dataVersion();
  const pollTimer = setInterval(() => {
    const current = store.dataVersion();
    if (current === version) return;
    version = current;
    for (const delivery of deliveries.values()) delivery.wake();
  }, POLL_MS);
  let measureTimer: ReturnType<typeof setTimeout> | undefined;
  let isClosed = false;
  void measure();

  /** Measures the lag of all sinks, in parts, again and again. */
  async function measure(): Promise<void> {
    const startedAt = performance.now();
    try {
      for (const [name, delivery] of deliveries) lags.set(name, await lagOf(delivery));
    } catch {
      // the deliveries report what is wrong with the database
    }
    if (isClosed) return;
    onStatus();
    const pauseMs = Math.max(MEASURE_MS, (performance.now() - startedAt) / MEASURE_SHARE);
    measureTimer = setTimeout(() => void measure(), pauseMs);
  }

  async function lagOf(delivery: Delivery): Promise<Lag> {
    let rows = 0;
    let oldest = Number.POSITIVE_INFINITY;
    for (const kind of KINDS) {
      for (let after = delivery.current().cursors[kind]; rows < MAX_LAG_ROWS && !isClosed; ) {
        const part = store.countAfter(kind, after, COUNTED_ROWS);
        rows += part.rows;
        if (part.rows > 0) oldest = Math.min(oldest, part.first);
        if (part.rows < COUNTED_ROWS) break;
        after = part.last;
        await Bun.sleep(0); // deliveries come first
      }
    }
    const { cursors, importId } = delivery.current();
    for (let after = importId; rows < MAX_LAG_ROWS && !isClosed; ) {
      const parts = store.listImported(after, COUNTED_IMPORTS);
      // the others are counted above
      for (const part of parts) if (part.first <= cursors[part.kind]) rows += part.rows;
      if (parts.length < COUNTED_IMPORTS) break;
      after = parts.at(-1)?.id ?? after;
      await Bun.sleep(0);
    }
    return { rows, oldestAt: Number.isFinite(oldest) ? millisecondOf(oldest) : undefined };
  }

  function statusOf(name: string, delivery: Delivery): SinkStatus {
    const { id, cursors, importId, skipped } = delivery.current();
    const reason = delivery.failure();
    const { rows, oldestAt } = lags.get(name) ?? { rows: 0, oldestAt: undefined };
    return {
      name,
      state: reason === undefined ? 'delivering' : 'failing',
      reason,
      lagRows: rows,
      lagSeconds: oldestAt === undefined ? 0 : Math.max(0, Date.now() - oldestAt) / 1000,
      ...store.counts(id),
      skipped: store.find(name)?.skipped ?? skipped,
      ...{ cursors, importId },
    };
  }

  function find(name: string): Delivery {
    const delivery = deliveries.get(store.find(name)?.name ?? name);
    if (delivery) return delivery;
    throw new UnknownSinkError(
      `${store.find(name) ? 'The sink is not in FORWARD_URL of the running server' : 'There is no such sink'}. "rawlog forward list" prints the names.`,
    );
  }

  return {
    statuses: () => [...deliveries].map(([name, delivery]) => statusOf(name, delivery)),
    retry(name) {
      const delivery = find(name);
      const rows = store.retry(delivery.current().id);
      onSaved();
      delivery.retryNow();
      return rows;
    },
    reset(name, seq) {
      const delivery = find(name);
      store.reset(delivery.current().id, seq);
      onSaved();
      delivery.reload();
      delivery.retryNow();
    },
    async close() {
      isClosed = true;
      clearInterval(pollTimer);
      clearTimeout(measureTimer);
      await Promise.all([...deliveries.values()].map((delivery) => delivery.stop()));
    },
  };
}
