import type { Config } from '../config.ts';
import { connectToServer } from '../control/client.ts';
import { configuredSinks } from '../formats/forward-url.ts';
import { escapeControls } from '../formats/visible-text.ts';
import type { SinkStatus } from '../forwarding/status.ts';
import {
  createSinkStore,
  type DeadLetter,
  dropSink,
  parseFirstId,
  readSinks,
  type SinkStore,
} from '../storage/sink-store.ts';
import { type CommandOptions, defineCommand, JSON_OPTION, MIGRATION_SETTINGS } from './command.ts';
import { openDatabase } from './open-database.ts';
import { countOf, print } from './output.ts';
import { runInServerOrHere } from './run-command.ts';
import { durationText } from './units.ts';

const ACTIONS = ['list', 'dead', 'retry', 'reset', 'drop'] as const;
type Action = (typeof ACTIONS)[number];

const OPTIONS = {
  from: { value: '<id>', help: 'for reset: the ID of the first record to deliver again', parse: parseFirstId },
  json: JSON_OPTION,
} satisfies CommandOptions;

/** A sink that is known, whether or not it is in FORWARD_URL. Lag and state are null unless a server forwards to it. */
interface ListedSink {
  readonly name: string;
  /** Whether it is in FORWARD_URL: of the running server, or of this command if there is none. */
  readonly configured: boolean;
  readonly state: SinkStatus['state'] | null;
  readonly reason: string | null;
  readonly lag_rows: number | null;
  readonly lag_seconds: number | null;
  readonly dead_letters: number;
  readonly postponed: number;
  readonly pending_erasures: number;
  readonly skipped: number;
}

/** The command that shows and changes what is forwarded. */
export const forwardCommand = defineCommand({
  name: 'forward',
  summary:
    'List the engines that records are forwarded to and their dead letters, deliver records again, or drop an engine',
  settings: [...MIGRATION_SETTINGS, 'FORWARD_URL'],
  examples: [
    { purpose: 'List the sinks with their names', commandLine: 'rawlog forward list' },
    {
      purpose: 'Print the records that a sink has rejected',
      commandLine: 'rawlog forward dead nats://10.0.0.5:4222/rawlog',
    },
    { purpose: 'Deliver them again', commandLine: 'rawlog forward retry nats://10.0.0.5:4222/rawlog' },
    {
      purpose: 'Deliver all records from one on again',
      commandLine: 'rawlog forward reset nats://10.0.0.5:4222/rawlog --from 01890a5d-ac96-774b-bcce-b302099a8057',
    },
  ],
  argument: {
    form: '<action>',
    help: ACTIONS.join(', '),
    words: ACTIONS,
    check: (text) => (isAction(text) ? undefined : `The action should be one of ${ACTIONS.join(', ')}`),
  },
  secondArgument: { form: '[sink]', help: 'name of the sink, as "rawlog forward list" prints it' },
  options: OPTIONS,
  check({ from }, action, sink) {
    const errors = [];
    if (action === 'list' && sink !== '') errors.push('list takes no sink');
    if (action !== 'list' && sink === '') errors.push(`${action} requires the name of a sink`);
    if (/^[a-z+]+:\/\/[^/]*@/i.test(sink)) {
      errors.push('The name of a sink has no credentials, and those of a command are visible to other users');
    }
    if (action === 'reset' && from === undefined) errors.push('reset requires --from');
    if (action !== 'reset' && from !== undefined) errors.push('--from is only for reset');
    return errors;
  },
  async run({ config }, { from = 1, json = false }, action, sink) {
    switch (action as Action) {
      case 'list':
        await list(config(), json);
        break;
      case 'dead':
        printDeadLetters(config(), sink, json);
        break;
      case 'retry': {
        const rows = await runInServerOrHere(config(), 'forward-retry', { sink }, ({ reader }) => {
          const store = createSinkStore(reader.client, Date.now);
          return store.retry(idOf(store, sink));
        });
        print(json ? JSON.stringify({ sink, rows }) : `Delivering ${countOf(rows, 'record')} again.`);
        break;
      }
      case 'reset':
        await runInServerOrHere(config(), 'forward-reset', { sink, seq: from }, ({ reader }) => {
          const store = createSinkStore(reader.client, Date.now);
          store.reset(idOf(store, sink), from);
          return null;
        });
        print(json ? JSON.stringify({ sink }) : 'The records from this ID on are delivered again.');
        break;
      case 'drop': {
        const existed = await runInServerOrHere(config(), 'forward-drop', { sink }, ({ reader }, run) => {
          if (configuredSinks(readSinks(reader.client), config().forwardUrls).some(({ name }) => name === sink)) {
            throw new Error('The sink is in FORWARD_URL. Remove it there first.');
          }
          return run(dropSink(reader.client, sink));
        });
        if (!existed) throw new Error(UNKNOWN_SINK);
        print(json ? JSON.stringify({ sink }) : 'The sink was dropped, with its position and its pending erasures.');
        break;
      }
    }
    return 0;
  },
});

const UNKNOWN_SINK = 'There is no such sink. "rawlog forward list" prints the names.';

function isAction(text: string): text is Action {
  return ACTIONS.some((action) => action === text);
}

/**
 * Returns the key of a sink.
 *
 * @throws {Error} with a message for the operator, if it is unknown
 */
function idOf(store: Pick<SinkStore, 'find'>, name: string): number {
  const sink = store.find(name);
  if (!sink) throw new Error(UNKNOWN_SINK);
  return sink.id;
}

async function list({ databasePath, forwardUrls }: Config, json: boolean): Promise<void> {
  using server = await connectToServer(databasePath);
  const live = await server?.run('forward-status', {});
  const client = openDatabase(databasePath);
  let sinks: ListedSink[];
  try {
    const store = createSinkStore(client, Date.now);
    const stored = readSinks(client);
    const configured = configuredSinks(stored, forwardUrls);
    sinks = stored.map(({ id, name, skipped }) => {
      const status = live?.find((candidate) => candidate.name === name);
      const { deadLetters, postponed, pendingErasures } = store.counts(id);
      return {
        ...{ name, configured: live ? status !== undefined : configured.some((sink) => sink.name === name) },
        ...{ state: status?.state ?? null, reason: status?.reason ?? null },
        ...{ lag_rows: status?.lagRows ?? null, lag_seconds: status?.lagSeconds ?? null },
        ...{ dead_letters: deadLetters, postponed, pending_erasures: pendingErasures, skipped },
      };
    });
  } finally {
    client.close();
  }
  if (json) print(JSON.stringify({ sinks }));
  else if (sinks.length === 0) print('There are no sinks. Set FORWARD_URL of the server to forward records.');
  else for (const sink of sinks) print(textOf(sink, live !== undefined));
}

function textOf(sink: ListedSink, isRunning: boolean): string {
  const { name, configured, state, reason, lag_rows: rows, lag_seconds: seconds } = sink;
  const stateText = configured ? (state ?? 'stopped, with the server') : 'not configured: it is not in FORWARD_URL';
  const where = configured || isRunning ? '' : ' of this command';
  return [
    escapeControls(name),
    `  state:            ${stateText}${where}${reason === null ? '' : ` (${escapeControls(reason)})`}`,
    ...(rows === null || seconds === null
      ? []
      : [`  lag:              ${countOf(rows, 'row')}, ${durationText(seconds)}`]),
    `  dead letters:     ${sink.dead_letters}`,
    `  postponed:        ${sink.postponed}`,
    `  pending erasures: ${sink.pending_erasures}`,
    `  skipped:          ${sink.skipped}`,
  ].join('\n');
}

function printDeadLetters({ databasePath }: Config, sink: string, json: boolean): void {
  const client = openDatabase(databasePath);
  let letters: DeadLetter[];
  try {
    const store = createSinkStore(client, Date.now);
    letters = store.deadLetters(idOf(store, sink));
  } finally {
    client.close();
  }
  const printed = letters.map(({ kind, id, reason, at }) => ({ kind, id, reason, at: new Date(at).toISOString() }));
  if (json) print(JSON.stringify({ sink, dead_letters: printed }));
  else if (printed.length === 0) print('There are no dead letters.');
  else for (const { kind, id, reason, at } of printed) print(escapeControls(`${at}  ${kind}  ${id}  ${reason}`));
}
