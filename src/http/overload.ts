import type { Logger } from 'pino';
import { Failure } from '../errors.ts';
import type { Ledger } from '../ingest/ledger.ts';
import type { KeptRejection, Rejections } from '../ingest/rejections.ts';
import { answerHeaders, bodyOf } from './errors.ts';
import type { Metrics } from './metrics.ts';
import { STATUS_BY_CODE } from './status.ts';

/** At most one line of the log, and one rejection, in this time tells of refusals, in milliseconds. */
const LOG_INTERVAL = 1_000;

/** What refusing works with. */
export interface OverloadParts {
  readonly log: Logger;
  readonly ledger: Ledger;
  readonly rejections: Pick<Rejections, 'add'>;
  readonly metrics: Pick<Metrics, 'requests'>;
}

/** Engine a request that is refused because too much waits already. */
export type Refuse = (request: { readonly requestId: string; readonly startedAt: number }) => Response;

/**
 * Makes the answer to an overload for a route: what the error handling would answer, count and log, but
 * at a fraction of its cost, since it is given when there is least time for it. Of many refusals in a
 * second the log has one line, with their number, and one rejection stands for all of them, whoever sent
 * them.
 */
export function overloadAnswers(path: string, { log, ledger, rejections, metrics }: OverloadParts): Refuse {
  const failure = new Failure('overloaded');
  const status = STATUS_BY_CODE.overloaded;
  const observe = metrics.requests('POST', path, status);
  let loggedAt = Number.NEGATIVE_INFINITY;
  let refused = 0;
  let kept: KeptRejection | undefined;

  return ({ requestId, startedAt }) => {
    ledger.reject('overloaded', 1);
    refused++;
    const now = performance.now();
    if (kept && now - loggedAt < LOG_INTERVAL) {
      kept.items++;
    } else {
      const { code, message } = failure;
      kept = rejections.add({ code, route: path, items: 1, userId: null, requestId, message, faults: [] });
      log.error({ request_id: requestId, method: 'POST', path, status, code: failure.code, refused }, 'overloaded');
      loggedAt = now;
      refused = 0;
    }
    observe((now - startedAt) / 1000);
    const body = JSON.stringify(bodyOf(failure, status, requestId, path));
    return new Response(body, { status, headers: answerHeaders(failure, requestId) });
  };
}
