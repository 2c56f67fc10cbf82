import { statSync } from 'node:fs';
import type { Config } from '../config.ts';
import { connectToServer } from '../control/client.ts';
import { createLedger } from '../ingest/ledger.ts';
import { readLedger } from '../storage/ledger.ts';
import { readPageCounts } from '../storage/page-counts.ts';
import { walPath } from '../storage/wal.ts';
import { DATABASE_SETTINGS, defineCommand, flag, JSON_OPTION } from './command.ts';
import { openDatabase } from './open-database.ts';
import { print, printFile } from './output.ts';
import { type StoredStatus, statusText } from './status-text.ts';

/** The command that prints the status of the server and of the database. */
export const statusCommand = defineCommand({
  name: 'status',
  summary: 'Print the ledger, the sizes of the database and the state of the running server',
  settings: DATABASE_SETTINGS,
  examples: [
    { purpose: 'Show the status', commandLine: 'rawlog status' },
    { purpose: 'Print the number of stored rows', commandLine: 'rawlog status --json | jq .ledger.stored' },
    { purpose: "Print the running server's metrics for Prometheus", commandLine: 'rawlog status --prometheus' },
  ],
  options: {
    json: JSON_OPTION,
    prometheus: flag("print the running server's metrics in the Prometheus text format, as /metrics does"),
  },
  check({ json, prometheus }) {
    return json && prometheus ? ['--json and --prometheus are mutually exclusive'] : [];
  },
  async run({ config }, { json, prometheus }) {
    const { databasePath } = config();
    using server = await connectToServer(databasePath);
    if (prometheus) {
      if (!server) throw new Error('No server is running, so there are no metrics. Start it with "rawlog serve".');
      printFile(await server.run('metrics', {}));
      return 0;
    }
    const stored = readStored(databasePath);
    const live = await server?.run('status', {});
    if (json) {
      const status = {
        server: server ? { pid: server.pid, version: server.version } : null,
        ...live,
        ledger: live?.ledger ?? stored.ledger,
        storage: { ...stored.storage, ...live?.storage },
      };
      print(JSON.stringify(status));
    } else {
      print(statusText(stored, server && live ? { identity: server, status: live } : undefined, new Date()));
    }
    return 0;
  },
});

/** Reads what the database file itself says: the ledger and sizes. A server may have it open. */
function readStored(path: Config['databasePath']): StoredStatus {
  const client = openDatabase(path);
  try {
    const { reusableBytes } = readPageCounts(client);
    const size = (file: string) => statSync(file, { throwIfNoEntry: false })?.size ?? 0;
    return {
      ledger: createLedger(readLedger(client)).counts(),
      storage: {
        database: path,
        database_bytes: size(path),
        reusable_bytes: reusableBytes,
        wal_bytes: size(walPath(path)),
      },
    };
  } finally {
    client.close();
  }
}
