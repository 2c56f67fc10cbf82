import { EngineUnavailableError } from './connection.ts';

/**
 * Parses the data of an event.
 *
 * @throws {EngineUnavailableError} if it is not JSON, without the text: the parser's message would contain it
 */
export function parseData(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw new EngineUnavailableError('the query engine returned data that is not JSON');
  }
}
