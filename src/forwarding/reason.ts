import { SinkConfigurationError, SinkUnavailableError } from './sink.ts';

/** Longest reason that is logged, in characters. */
const MAX_LENGTH = 300;

/**
 * Returns why an engine failed, for the log. Of errors whose message was not written for the operator, only the code or
 * the name: their messages may contain values of rows or credentials.
 *
 * @param url the URL of the sink, whose credentials are removed in any case
 */
export function failureReason(error: unknown, url: URL): string {
  if (!(error instanceof Error)) return 'an unknown error';
  if (error instanceof SinkConfigurationError || error instanceof SinkUnavailableError) {
    return withoutCredentials(error.message, url).slice(0, MAX_LENGTH);
  }
  const code = 'code' in error ? String(error.code) : '';
  return /^[\w.-]{1,64}$/.test(code) ? code : error.name;
}

function withoutCredentials(text: string, { username, password }: URL): string {
  // the longest first: a user name can be a part of the password, whose other parts would remain
  const secrets = [username, password]
    .flatMap((secret) => [secret, decodeURIComponent(secret)])
    .sort((a, b) => b.length - a.length);
  return secrets.reduce((result, secret) => (secret === '' ? result : result.replaceAll(secret, '***')), text);
}
