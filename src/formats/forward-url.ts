import { parseClickHouseUrl } from './clickhouse-url.ts';
import { isEngineName } from './engine-name.ts';
import { parsePostgresUrl } from './postgres-url.ts';
import { parseS3Prefix } from './s3.ts';

/*
 * The URLs of FORWARD_URL: which engines there are, and what their URLs may contain. Messages never repeat the text, which
 * may contain credentials.
 */

/** What the URLs of a scheme look like. */
interface UrlForm {
  readonly form: string;
  /** Checks a URL. Throws an error whose message completes a sentence and repeats no value. */
  readonly check: (url: URL) => void;
  /** The parameters that are part of the sink's name, because they tell where rows are stored. */
  readonly naming: readonly string[];
  /** Returns where rows are stored, for a URL that was checked or the name of a sink. */
  readonly place: (url: URL) => readonly unknown[];
}

const NATS_PORT = '4222';

/** The parameters of NATS, each with the values that it accepts. */
const NATS_PARAMETERS: ReadonlyMap<string, RegExp> = new Map([
  ['replicas', /^[1-5]$/],
  ['tls', /^(?:on|off)$/],
]);

/** The engines that rows can be forwarded to, by the scheme of their URLs. */
const URL_FORMS = {
  nats: { form: 'nats://HOST/STREAM', check: checkNatsUrl, naming: [], place: natsPlace },
  postgres: {
    form: 'postgres://USER@HOST/DATABASE',
    check: checkPostgresUrl,
    naming: ['host', 'schema', 'tables'],
    place: postgresPlace,
  },
  clickhouse: {
    form: 'clickhouse://HOST/DATABASE',
    check: parseClickHouseUrl,
    naming: ['cluster'],
    place: clickHousePlace,
  },
  clickhouses: {
    form: 'clickhouses://HOST/DATABASE',
    check: parseClickHouseUrl,
    naming: ['cluster'],
    place: clickHousePlace,
  },
  s3: { form: 's3://BUCKET/PREFIX', check: checkS3Url, naming: [], place: s3Place },
} as const satisfies Record<string, UrlForm>;

/** The scheme of a URL in FORWARD_URL. */
export type ForwardScheme = keyof typeof URL_FORMS;

/** A parsed URL of FORWARD_URL. */
export interface ForwardUrl {
  readonly scheme: ForwardScheme;
  /** Identifies the sink in commands, metrics and log lines: the URL without credentials and most parameters. */
  readonly name: string;
  /** The URL as text, credentials included. */
  readonly href: string;
}

/**
 * Parses a list of URLs, separated by commas or line feeds.
 *
 * @throws {Error} with a message that completes a sentence and has one part per invalid URL
 */
export function parseForwardUrls(text: string): ForwardUrl[] {
  const urls: ForwardUrl[] = [];
  const problems: string[] = [];
  const entries = text.split(/[,\n]/).map((entry) => entry.trim());
  for (const [i, entry] of entries.entries()) {
    const which = entries.length === 1 ? '' : `URL ${i + 1} `;
    try {
      const parsed = parseForwardUrl(entry);
      if (findSink(urls, parsed.name)) problems.push(`${which}names the same sink as one before it`);
      else urls.push(parsed);
    } catch (error) {
      problems.push(`${which}${(error as Error).message}`); // nothing else is thrown
    }
  }
  if (problems.length > 0) throw new Error(entries.length === 1 ? problems[0] : `is invalid: ${problems.join('; ')}`);
  return urls;
}

/**
 * Finds a sink by its name, or else the first one that stores rows in the same place: a name may have the default port, or
 * lack it. Sinks keep the names under which their positions are stored.
 */
export function findSink<Sink extends { readonly name: string }>(
  sinks: readonly Sink[],
  name: string,
): Sink | undefined {
  const place = placeOf(name);
  return sinks.find((sink) => sink.name === name) ?? sinks.find((sink) => placeOf(sink.name) === place);
}

/** Returns the sinks, among those that are stored, that URLs refer to. */
export function configuredSinks<Sink extends { readonly name: string }>(
  sinks: readonly Sink[],
  urls: readonly ForwardUrl[],
): Sink[] {
  return urls.flatMap(({ name }) => findSink(sinks, name) ?? []);
}

/** Returns a text for where a sink stores rows; its name if that is not one of this version. */
function placeOf(name: string): string {
  const url = URL.parse(name);
  const scheme = url?.protocol.slice(0, -1) ?? '';
  if (!url || !isScheme(scheme)) return name;
  const form: UrlForm = URL_FORMS[scheme];
  try {
    return JSON.stringify([scheme, ...form.place(url)]);
  } catch {
    return name;
  }
}

/** Parses NODE_ID. */
export function parseNodeId(text: string): string {
  if (!isEngineName(text)) {
    throw new Error('should begin with a letter or an underscore, and have up to 63 letters, digits, _ and -');
  }
  return text;
}

function parseForwardUrl(text: string): ForwardUrl {
  const scheme = /^([a-z][a-z0-9+.-]*):\/\//i.exec(text)?.[1]?.toLowerCase().replace('postgresql', 'postgres') ?? '';
  if (!isScheme(scheme)) {
    const forms = Object.values(URL_FORMS).map(({ form }) => form);
    throw new Error(`should be a URL such as ${forms.join(' or ')}`);
  }
  const form: UrlForm = URL_FORMS[scheme];
  const url = URL.parse(text);
  if (url?.hash !== '' || !isDecodable(url)) throw new Error(`should be ${form.form}`);
  form.check(url);
  const naming = form.naming.flatMap((name) =>
    url.searchParams.has(name) ? `${name}=${url.searchParams.get(name)}` : [],
  );
  const query = naming.length > 0 ? `?${naming.join('&')}` : '';
  return { scheme, name: `${scheme}://${url.host.toLowerCase()}${url.pathname}${query}`, href: url.href };
}

function checkNatsUrl({ hostname, pathname, searchParams }: URL): void {
  if (hostname === '' || !isEngineName(pathname.slice(1))) throw new Error(`should be ${URL_FORMS.nats.form}`);
  for (const [name, value] of searchParams) {
    const accepted = NATS_PARAMETERS.get(name);
    if (!accepted) throw new Error(`has a parameter other than ${[...NATS_PARAMETERS.keys()].join(', ')}`);
    if (!accepted.test(value)) throw new Error(`has an invalid value of the parameter ${name}`);
  }
  if (new Set(searchParams.keys()).size < searchParams.size) throw new Error('has the same parameter twice');
}

function natsPlace({ hostname, port, pathname }: URL): readonly unknown[] {
  return [hostname.toLowerCase(), port || NATS_PORT, pathname];
}

function postgresPlace(url: URL): readonly unknown[] {
  const named = new URL(url);
  named.username ||= 'any'; // required, but not a part of the place
  const { host, port, database, schema, tables } = parsePostgresUrl(named.href);
  return [host.startsWith('/') ? host : host.toLowerCase(), port, database, schema, tables];
}

function clickHousePlace(url: URL): readonly unknown[] {
  const { origin, database, cluster } = parseClickHouseUrl(url);
  return [origin.toLowerCase(), database, cluster];
}

function s3Place({ href }: URL): readonly unknown[] {
  const { bucket, key } = parseS3Prefix(href);
  return [bucket, key];
}

function checkPostgresUrl({ href }: URL): void {
  parsePostgresUrl(href);
}

function checkS3Url({ href }: URL): void {
  const { key } = parseS3Prefix(href);
  if (!key.split('/').every((segment) => segment === '' || isEngineName(segment))) {
    throw new Error('should have a prefix of names that begin with a letter or an underscore');
  }
}

function isScheme(text: string): text is ForwardScheme {
  return Object.hasOwn(URL_FORMS, text);
}

/** Returns whether the credentials can be percent-decoded. */
function isDecodable({ username, password }: URL): boolean {
  try {
    decodeURIComponent(username + password);
    return true;
  } catch {
    return false;
  }
}
