import { Elysia } from 'elysia';
import type { CachedVerifier } from '../../auth/token-cache.ts';
import { canReadAll } from '../../auth/verifier.ts';
import { annotationCheck } from '../../board-bodies.ts';
import type { Annotation, Annotations, Deleted } from '../../board-responses.ts';
import { ApiError } from '../../errors.ts';
import { EARLIEST_TIMESTAMP, formatTimestamp, parseTimestamp } from '../../formats/timestamp.ts';
import { isWebUrl } from '../../formats/web-url.ts';
import { type AnnotationStore, MAX_ANNOTATIONS, type StoredAnnotation } from '../../storage/annotation-store.ts';
import { authenticate, authenticateAdmin } from '../auth.ts';
import { checkId, randomId } from '../board-access.ts';
import { readJson } from '../body.ts';
import { admitChange, type ChangeParts, commitChange, readStored } from '../changes.ts';
import { documentBoardRoute } from '../openapi-boards.ts';
import { documentParameters, instant, integer, readQuery, valueError } from '../parameters.ts';
import { validate } from '../validation.ts';

/** Largest body, in bytes. */
const MAX_BODY_BYTES = 16_384;
const DEFAULT_LIMIT = 1_000;
/** 2200-01-01T00:00:00Z in microseconds since 1970. */
const LATEST = Date.UTC(2200, 0) * 1000;

/** Dependencies of the routes of annotations. */
export interface AnnotationParts extends ChangeParts {
  readonly verify: CachedVerifier;
  readonly annotations: AnnotationStore;
  /** The clock, in milliseconds since 1970. */
  readonly now: () => number;
}

const PARAMETERS = {
  from: instant('Start of the range, inclusive. Default: no limit.'),
  to: instant('End of the range, exclusive. Default: no limit.'),
  limit: integer('Maximum number of annotations; the newest ones are returned.', 1, 1000, DEFAULT_LIMIT),
};

/** Creates the routes of annotations. */
export function annotationRoutes(parts: AnnotationParts) {
  const { verify, annotations, queue, now } = parts;

  return new Elysia({ name: 'annotations' })
    .get(
      '/api/annotations',
      async ({ request }): Promise<Annotations> => {
        const principal = await authenticate(request.headers, verify);
        const { from, to, limit = DEFAULT_LIMIT } = readQuery(request, PARAMETERS);
        if (!canReadAll(principal)) throw new ApiError('forbidden');
        return { annotations: readStored(() => annotations.list(from, to, limit)).map(toAnnotation) };
      },
      { detail: documentBoardRoute('listAnnotations', documentParameters(PARAMETERS)) },
    )
    .post(
      '/api/annotations',
      async ({ request }): Promise<Annotation> => {
        const principal = await authenticateAdmin(request.headers, verify);
        readQuery(request, {});
        const { value, bytes } = await readJson(request, MAX_BODY_BYTES, { grow: () => true });
        const { text, timestamp, url } = validate('body', annotationCheck, value);
        if (url !== undefined) checkUrl(url);
        const createdAt = now();
        const annotation: StoredAnnotation = {
          ...{ annotationId: randomId(), at: timeOf(timestamp) ?? createdAt * 1000, createdAt },
          ...{ author: principal.userId, text, url: url ?? null },
        };
        admitChange(parts, principal, bytes);
        const isStored = await commitChange(queue, bytes, () => {
          const outcome = !annotations.isFull();
          return { changes: outcome ? annotations.insert(annotation) : 0, outcome };
        });
        if (isStored) return toAnnotation(annotation);
        const issue = valueError(`there can be at most ${MAX_ANNOTATIONS} annotations`);
        throw new ApiError('validation_failed', { issues: [{ loc: ['body'], ...issue }] });
      },
      { parse: 'none', detail: documentBoardRoute('createAnnotation') },
    )
    .delete(
      '/api/annotations/:annotation_id',
      async ({ request, params }): Promise<Deleted> => {
        const principal = await authenticateAdmin(request.headers, verify);
        readQuery(request, {});
        const id = checkId(params.annotation_id, NO_ANNOTATION);
        admitChange(parts, principal, 0);
        const changes = await commitChange(queue, 0, () => {
          const outcome = annotations.delete(id);
          return { changes: outcome, outcome };
        });
        if (changes === 0) throw new ApiError('not_found', { message: NO_ANNOTATION });
        return { id };
      },
      { detail: documentBoardRoute('deleteAnnotation') },
    );
}

const NO_ANNOTATION = 'No such annotation';

function toAnnotation({ annotationId: id, at, text, url, author }: StoredAnnotation): Annotation {
  return { id, timestamp: formatTimestamp(at), text, url, author };
}

/**
 * Returns a valid timestamp in microseconds since 1970.
 *
 * @throws {ApiError} `validation_failed` if charts cannot show it
 */
function timeOf(timestamp: string | undefined): number | undefined {
  if (timestamp === undefined) return undefined;
  const at = parseTimestamp(timestamp) as number; // validated by the schema's date-time format
  if (at >= EARLIEST_TIMESTAMP && at < LATEST) return at;
  const issue = valueError('the timestamp should be between the years 1700 and 2200');
  throw new ApiError('validation_failed', { issues: [{ loc: ['body', 'timestamp'], ...issue }] });
}

/**
 * Checks that a URL is safe as a link.
 *
 * @throws {ApiError} `validation_failed`
 */
function checkUrl(url: string): void {
  if (isWebUrl(url)) return;
  const issue = valueError('the URL should begin with http:// or https://');
  throw new ApiError('validation_failed', { issues: [{ loc: ['body', 'url'], ...issue }] });
}
