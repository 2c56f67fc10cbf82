import { type Static, Type } from '@sinclair/typebox';
import type { Retention } from '../formats/retention.ts';
import '../records.ts'; // registers the format of user IDs
import type { SinkStatus } from '../forwarding/status.ts';
import type { OperatorStatus } from '../responses.ts';
import type { ErasedRows } from '../storage/erasure.ts';
import type { ImportOutcome } from '../storage/import.ts';
import type { JobProgress } from '../storage/job.ts';
import type { Pruned } from '../storage/retention.ts';

/*
 * The control protocol: how a command asks the running server to execute it. It is HTTP over a Unix socket:
 *
 *   POST /v1/NAME?argument=JSON   runs a command; its input, if it has any, is the body
 *   GET /v1                       returns the version and the process ID of the server
 *
 * The response is a stream of JSON lines: any number of `progress` and empty objects, which show that the server is
 * alive, and finally a `result` or an `error`. A command takes no paths: the command line opens files and sends bytes.
 */

const age = Type.Optional(Type.Number({ minimum: 0 }));
const retentionSchema = Type.Object({
  seconds: age,
  rules: Type.Array(
    Type.Object({
      kind: Type.Union([Type.Literal('metric'), Type.Literal('analytics')]),
      name: Type.String(),
      seconds: age,
    }),
  ),
});

/** The commands that the server executes, each with the schema of its argument. */
export const CONTROL_COMMANDS = {
  erase: Type.Object({ user_id: Type.String({ format: 'user-id' }) }),
  /** Without `retention`, by the settings of the server. */
  prune: Type.Object({ retention: Type.Optional(Type.Unsafe<Retention>(retentionSchema)), is_dry_run: Type.Boolean() }),
  rebuild: Type.Object({}),
  status: Type.Object({}),
  metrics: Type.Object({}),
  /** Returns the sinks in FORWARD_URL. */
  'forward-status': Type.Object({}),
  'forward-retry': Type.Object({ sink: Type.String() }),
  'forward-drop': Type.Object({ sink: Type.String() }),
  'forward-reset': Type.Object({ sink: Type.String(), seq: Type.Integer({ minimum: 1 }) }),
  /** Begins an import, which lasts until `import-end` or until the command line disconnects. */
  import: Type.Object({}),
  /** Stores the exported records in the body, JSON lines of at most {@link MAX_BODY_BYTES}. */
  'import-batch': Type.Object({}),
  /** Returns which of the source IDs in the body, a JSON array, were not imported. */
  'import-missing': Type.Object({ kind: Type.Union([Type.Literal('metric'), Type.Literal('analytics')]) }),
  'import-end': Type.Object({}),
} as const;
export type ControlCommandName = keyof typeof CONTROL_COMMANDS;
export type ControlArgument<Name extends ControlCommandName> = Static<(typeof CONTROL_COMMANDS)[Name]>;

/** What `erase` has erased. */
export interface ErasedUser extends ErasedRows {
  /** The names of the sinks that have not erased the user yet. */
  readonly pending: readonly string[];
}

/** What `prune` has deleted, or would delete. */
export interface PruneReport extends Pruned {
  /** Sizes of the database file in bytes. */
  readonly before: number;
  readonly after: number;
  /** Whether the file can only shrink while the server is stopped, because it was created by an older version. */
  readonly needsRewrite: boolean;
}

/** The results of the commands. They travel as JSON. */
export interface ControlResults {
  readonly erase: ErasedUser;
  readonly prune: PruneReport;
  readonly rebuild: null;
  readonly status: OperatorStatus;
  /** The metrics in the Prometheus text format. */
  readonly metrics: string;
  readonly 'forward-status': readonly SinkStatus[];
  /** The number of rows that are delivered again. */
  readonly 'forward-retry': number;
  readonly 'forward-reset': null;
  /** Whether the sink existed. */
  readonly 'forward-drop': boolean;
  readonly import: null;
  /** The outcome of each record. */
  readonly 'import-batch': readonly ImportOutcome[];
  /** Indexes in the body, ascending. */
  readonly 'import-missing': readonly number[];
  readonly 'import-end': null;
}

/** A line of the response. */
export interface ControlLine {
  readonly progress?: JobProgress;
  readonly result?: unknown;
  /** The message is for the operator. */
  readonly error?: { readonly message: string };
}

/** The server at the other end of the socket. */
export interface ServerIdentity {
  readonly version: string;
  readonly pid: number;
}

/** The path of the commands, and of the server's identity. */
export const CONTROL_PATH = '/v1';
/** Maximum size of the body of a command. The longest line of an import has 16 MB. */
export const MAX_BODY_BYTES = 32 * 1024 ** 2;
/** How often a line is sent, in milliseconds, while a command makes no progress. */
export const HEARTBEAT_MS = 1_000;
