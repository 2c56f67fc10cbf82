import { expect, test } from 'bun:test';
import { join } from 'node:path';
import { createApp } from '../src/app.ts';
import { cacheVerified } from '../src/auth/token-cache.ts';
import { createVerifier } from '../src/auth/verifier.ts';
import { loadConfig } from '../src/config.ts';
import { createChartDrawing } from '../src/http/board-charts.ts';
import { createMetrics } from '../src/http/metrics.ts';
import { createSharedCharts } from '../src/http/shared-charts.ts';
import { createCommitQueue } from '../src/ingest/commit-queue.ts';
import { createIdempotency } from '../src/ingest/idempotency.ts';
import { createIdSource } from '../src/ingest/ids.ts';
import { createLedger } from '../src/ingest/ledger.ts';
import { createRateLimit } from '../src/ingest/rate-limit.ts';
import { createRejections } from '../src/ingest/rejections.ts';
import { createReservations } from '../src/ingest/reservations.ts';
import { createStamper } from '../src/ingest/stamper.ts';
import { createUsedCodes } from '../src/ingest/used-codes.ts';
import { createUserNames } from '../src/ingest/user-names.ts';
import { createLog } from '../src/log.ts';
import { createQueryClient } from '../src/query/client.ts';
import { openAnnotationStore } from '../src/storage/annotation-store.ts';
import { openBoardLinkStore } from '../src/storage/board-link-store.ts';
import { openBoardStore } from '../src/storage/board-store.ts';
import { openStorage } from '../src/storage/database.ts';
import { openUnitStore } from '../src/storage/unit-store.ts';
import { createWriter } from '../src/storage/writer.ts';
import { createLiveTails } from '../src/tail/live-tails.ts';
import { SECRET, temporaryFolder } from './harness/target.ts';

test('Elysia parses no cookies, query or headers for the recording routes', async () => {
  using folder = temporaryFolder();
  const storage = openStorage(join(folder.path, 'rawlog.db'));
  const writer = createWriter(storage);
  const ledger = createLedger([]);
  const config = loadConfig({ flags: {}, env: { JWT_SECRET: SECRET }, readFile: String });
  const verify = await createVerifier({
    ...config.jwt,
    secrets: [SECRET],
    operatorSecrets: [],
    remoteKeys: undefined,
    now: Date.now,
  });
  const unlimited = createRateLimit('none', undefined, 0, Date.now);
  const queries = createQueryClient({
    path: join(folder.path, 'rawlog.db'),
    worker: new URL('../src/query/worker.ts', import.meta.url),
    timeoutMs: 10_000,
    maxResultBytes: 1e6,
    idleTimeoutMs: 10_000,
    log: createLog('silent'),
  });
  const queue = createCommitQueue(writer, ledger, { rows: 1, bytes: 1 }, () => {});
  const drawChart = createChartDrawing({
    engine: queries,
    metrics: createMetrics(),
    slowQueries: { report() {} },
    maxResultBytes: 1e6,
    now: Date.now,
  });
  const app = createApp({
    access: {
      verify: cacheVerified(verify, Date.now),
      failedAuthentications: unlimited,
      metricsToken: () => undefined,
      acceptedBySecret: () => [],
      corsOrigins: undefined,
      trustedProxies: undefined,
      issuers: () => [],
      jwt: config.jwt,
      usedCodes: createUsedCodes(writer, queue),
      hashUser: () => Buffer.alloc(0),
      now: Date.now,
    },
    ingest: {
      queue,
      freeSpace: { isShort: () => false, minBytes: 0, secondsLeft: () => undefined },
      reservations: createReservations(queue, { rows: 1, bytes: 1 }, 1),
      idempotency: createIdempotency(writer, Date.now),
      stamper: createStamper(createIdSource(Date.now, 0), Date.now, 0),
      userNames: createUserNames(writer, storage.hash, 1000),
      ledger,
      rejections: createRejections(Date.now),
      rows: unlimited,
      bytes: unlimited,
      actAs: { report() {} },
    },
    demo: {
      start: () => Promise.reject(new Error('no demo')),
      stop: async () => false,
      close: async () => {},
      running: () => undefined,
    },
    reading: { queries, engine: queries, slowQueries: { report() {} }, tails: createLiveTails(Date.now, 30) },
    boards: {
      boards: openBoardStore(storage.client),
      links: openBoardLinkStore(storage.client),
      annotations: openAnnotationStore(storage.client),
      units: openUnitStore(storage.client),
      drawChart,
      sharedCharts: createSharedCharts(drawChart),
      linkRequests: unlimited,
      audit: { link: async () => {} },
    },
    removal: {
      erase: async () => ({ metrics: 0, analytics: 0, pending: [] }),
      deleteRecords: async () => 0,
      hashForLog: () => '',
    },
    metrics: createMetrics(),
    tracing: undefined,
    settings: {
      limits: {
        maxBodyBytes: 1,
        maxBatchItems: 1,
        maxResultBytes: 1,
        maxNamesPerUser: 1,
        isAllowedName: undefined,
        rateLimit: undefined,
        rateLimitBytes: undefined,
      },
      queueBounds: { rows: 1, bytes: 1 },
      databasePath: '',
      syncStatus: () => ({ mode: 'inline', medianMs: 0 }),
      lastBackupAt: () => undefined,
      backupSchedule: () => undefined,
      retention: { seconds: undefined, rules: [] },
      sinks: () => [],
      idleTimeoutSeconds: 30,
      embedOrigins: undefined,
    },
    receiving: undefined,
    isOpen: () => true,
    log: createLog('silent'),
  });
  const route = app.routes.find(({ path }) => path === '/log_raw_metric');
  // the compiled route: Elysia decides what to parse from the parameters of handlers and hooks
  const compiled = String(route?.compile());
  expect(compiled).toContain('handler(c)');
  expect(compiled).not.toMatch(/cookie|query|toJSON|getServer/i);
  await queries.close();
  storage.close();
});
