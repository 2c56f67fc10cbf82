/*
 * The analytics tables of an AutoGPT database.
 */

/** The tables as Prisma created them. */
export const ORIGINAL_TABLES = `
  CREATE TABLE "User" ("id" text PRIMARY KEY);
  CREATE TABLE "AnalyticsDetails" ("id" TEXT NOT NULL DEFAULT gen_random_uuid(),
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "userId" TEXT NOT NULL, "type" TEXT NOT NULL, "data" JSONB, "dataIndex" TEXT, CONSTRAINT "AnalyticsDetails_pkey" PRIMARY KEY ("id"));
  CREATE TABLE "AnalyticsMetrics" ("id" TEXT NOT NULL DEFAULT gen_random_uuid(),
    "createdAt" TIMESTAMP(3) NOT NULL DEFAULT CURRENT_TIMESTAMP, "updatedAt" TIMESTAMP(3) NOT NULL, "analyticMetric" TEXT NOT NULL,
    "value" DOUBLE PRECISION NOT NULL, "dataString" TEXT, "userId" TEXT NOT NULL, CONSTRAINT "AnalyticsMetrics_pkey" PRIMARY KEY ("id"));
  CREATE INDEX "analyticsDetails" ON "AnalyticsDetails"("userId", "type");
  ALTER TABLE "AnalyticsDetails" ADD CONSTRAINT "AnalyticsDetails_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE CASCADE ON UPDATE CASCADE;
  ALTER TABLE "AnalyticsMetrics" ADD CONSTRAINT "AnalyticsMetrics_userId_fkey" FOREIGN KEY ("userId") REFERENCES "User"("id") ON DELETE CASCADE ON UPDATE CASCADE;
  INSERT INTO "User" SELECT 'user-' || n FROM generate_series(1, 9) AS n;`;

/** Returns SQL that inserts ordinary rows: `count` of each kind, a second apart, of nine users. */
export const ordinaryRows = (count: number) => `
  INSERT INTO "AnalyticsMetrics" ("createdAt", "updatedAt", "analyticMetric", "value", "dataString", "userId")
    SELECT '2024-03-01'::timestamp + n * interval '1 s', '2024-03-01'::timestamp + n * interval '1.25 s', 'page_load_time',
      random() * 10, CASE WHEN n % 3 > 0 THEN '/page/' || n % 7 END, 'user-' || 1 + n % 9 FROM generate_series(1, ${count}) AS n;
  INSERT INTO "AnalyticsDetails" ("createdAt", "updatedAt", "type", "data", "dataIndex", "userId")
    SELECT '2024-03-01'::timestamp + n * interval '1 s', '2024-03-01'::timestamp + n * interval '1 s', 'step_' || n % 5,
      jsonb_build_object('n', n, 'nested', jsonb_build_array(n, NULL, 'é')), CASE WHEN n % 4 > 0 THEN n % 10 || '' END, 'user-' || 1 + n % 9
      FROM generate_series(1, ${count}) AS n;`;
