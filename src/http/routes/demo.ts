import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import { type Demo, DemoSpaceError } from '../../demo/demo-process.ts';
import { ApiError } from '../../errors.ts';
import type { DemoEnd, DemoSession } from '../../responses.ts';
import { authenticateAdmin } from '../auth.ts';
import { documentDemo } from '../openapi.ts';
import { targetOf } from '../request-target.ts';

/** Dependencies of the demo routes. */
export interface DemoParts {
  readonly verify: CachedVerifier;
  readonly demo: Demo;
  /** Returns whether the server accepts new records; otherwise it is stopping. */
  readonly isOpen: () => boolean;
}

/** Header fields of a request that the demo needs. It is never told who the caller is on this server. */
const FORWARDED = ['authorization', 'accept', 'last-event-id'];
/** Header fields of the demo's response that belong to its connection. */
const DROPPED = ['connection', 'content-encoding', 'content-length', 'keep-alive', 'transfer-encoding', 'x-request-id'];

/** Where the query routes of the demo are. */
const PREFIX = '/demo';

/**
 * Creates the routes that start and stop the demo, and those of the demo itself: under `/demo`, all GET routes of its API
 * read its own database, for its own tokens only.
 */
export function demoRoutes({ verify, demo, isOpen }: DemoParts) {
  return new Elysia({ name: 'demo' })
    .decorate('requestId', '') // set by request-start.ts
    .post(
      '/api/demo',
      async ({ request, server, set }): Promise<DemoSession> => {
        await authenticateAdmin(request.headers, verify);
        server?.timeout(request, 0); // it takes a few seconds, and has its own timeout
        set.headers['cache-control'] = 'no-store';
        try {
          const { token, expires_at, rows } = await demo.start();
          return { token, expires_at, rows };
        } catch (error) {
          if (error instanceof DemoSpaceError) throw new ApiError('storage_full', { cause: error });
          if (!isOpen()) throw new ApiError('shutting_down');
          throw error;
        }
      },
      { parse: 'none', detail: documentDemo('startDemo') },
    )
    .delete(
      '/api/demo',
      async ({ request, server }): Promise<DemoEnd> => {
        await authenticateAdmin(request.headers, verify);
        server?.timeout(request, 0); // it waits for a start in progress
        return { deleted: await demo.stop() };
      },
      { parse: 'none', detail: documentDemo('stopDemo') },
    )
    .get(
      `${PREFIX}/api/*`,
      async ({ request, server }) => {
        const running = demo.running();
        if (!running) throw demoHasEnded();
        server?.timeout(request, 0); // the demo has its own timeouts
        const { path, query } = targetOf(request);
        const headers = new Headers(
          FORWARDED.flatMap((name) => {
            const value = request.headers.get(name);
            return value === null ? [] : [[name, value] as [string, string]];
          }),
        );
        const response = await fetch(`${running.url}${path.slice(PREFIX.length)}?${query}`, {
          headers,
          signal: request.signal,
          redirect: 'manual',
        }).catch((error: unknown) => {
          throw demoHasEnded(error); // it may have been killed a moment ago
        });
        const kept = new Headers(response.headers);
        for (const name of DROPPED) kept.delete(name);
        return new Response(response.body, { status: response.status, headers: kept });
      },
      { detail: { hide: true } },
    );
}

/** @param cause why the demo did not respond */
function demoHasEnded(cause?: unknown): ApiError {
  const rejection = { tokenRejection: 'expired', isSigned: true } as const;
  return new ApiError('unauthorized', {
    message: 'The demo has ended',
    ...rejection,
    ...(cause !== undefined && { cause }),
  });
}
