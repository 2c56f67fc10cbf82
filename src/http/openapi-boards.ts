import type { DocumentDecoration } from 'elysia';
import type { ErrorCode } from '../errors.ts';
import { EXAMPLES } from './examples.ts';
import { errorResponses } from './openapi.ts';
import { ALL_BODIES, ref } from './openapi-schemas.ts';

/*
 * The documentation of the routes of boards, shared links, annotations and units.
 */

type BodyName = 'BoardBody' | 'LinkBody' | 'AnnotationBody' | 'UnitBody';

interface BoardRoute {
  readonly summary: string;
  readonly description: string;
  readonly response: keyof typeof EXAMPLES;
  readonly responseDescription: string;
  readonly body?: BodyName;
  /** The IDs in its path. */
  readonly ids?: readonly (keyof typeof IDS)[];
  /** Whether it needs a link's value in place of a token. */
  readonly isShared?: true;
  readonly errors?: readonly ErrorCode[];
}

const IDS = {
  board_id: 'The ID of the board.',
  link_id: 'The ID of the link, not its value.',
  annotation_id: 'The ID of the annotation.',
  index: 'The position of the chart on the board, from 0.',
} as const;

const BASIC: readonly ErrorCode[] = [
  'unauthorized',
  'validation_failed',
  'rate_limited',
  'internal',
  'keys_unavailable',
  'storage_unavailable',
  'shutting_down',
];
const CHANGE: readonly ErrorCode[] = ['forbidden', 'storage_full'];
const QUERY: readonly ErrorCode[] = [
  'forbidden',
  'not_found',
  'query_too_large',
  'not_supported',
  'queries_overloaded',
];

const ROUTES = {
  listBoards: {
    summary: 'List boards',
    description: "Returns the caller's boards and those for everyone, oldest first.",
    response: 'Boards',
    responseDescription: 'The boards',
  },
  createBoard: {
    summary: 'Create a board',
    description:
      'Stores a board. Every user, viewers included, can have boards of the scope `account`. The scope `everyone` requires the role `admin`, and its charts cannot filter by user.',
    response: 'Board',
    responseDescription: 'The stored board',
    body: 'BoardBody',
    errors: CHANGE,
  },
  getBoard: {
    summary: 'Get a board',
    description: 'Returns a board with its charts. Boards of other accounts do not exist for the caller.',
    response: 'Board',
    responseDescription: 'The board',
    ids: ['board_id'],
    errors: ['not_found'],
  },
  updateBoard: {
    summary: 'Replace a board',
    description: 'Replaces the name, the scope and the charts. Its shared links show the new charts.',
    response: 'Board',
    responseDescription: 'The stored board',
    body: 'BoardBody',
    ids: ['board_id'],
    errors: [...CHANGE, 'not_found'],
  },
  deleteBoard: {
    summary: 'Delete a board',
    description: 'Deletes a board and its shared links.',
    response: 'Deleted',
    responseDescription: 'The board was deleted',
    ids: ['board_id'],
    errors: [...CHANGE, 'not_found'],
  },
  drawBoardChart: {
    summary: 'Draw a chart of a board',
    description: 'Runs the queries of a chart for its range as of now, over the rows that the caller may read.',
    response: 'DrawnChart',
    responseDescription: 'The results',
    ids: ['board_id', 'index'],
    errors: QUERY,
  },
  createSharedLink: {
    summary: 'Create a shared link to a board',
    description:
      "Returns a secret that opens the board without a token, read-only, until it expires or is revoked. The charts show what the caller can read now: all rows for admins and viewers, otherwise only the caller's own.",
    response: 'CreatedLink',
    responseDescription: 'The link, with its value',
    body: 'LinkBody',
    ids: ['board_id'],
    errors: [...CHANGE, 'not_found'],
  },
  listSharedLinks: {
    summary: 'List shared links',
    description:
      'Returns the links that the caller has created and that have not expired; for admins, those of all users.',
    response: 'SharedLinks',
    responseDescription: 'The links, without their values',
  },
  revokeSharedLink: {
    summary: 'Revoke a shared link',
    description: 'Deletes a link. Users can revoke their own links, admins any.',
    response: 'Deleted',
    responseDescription: 'The link was revoked',
    ids: ['link_id'],
    errors: [...CHANGE, 'not_found'],
  },
  getSharedBoard: {
    summary: 'Get a shared board',
    description:
      'Returns the board of a shared link. Any parameter is rejected, so that a link shows only what its creator has chosen. A link allows 10 requests per second.',
    response: 'SharedBoard',
    responseDescription: 'The board',
    isShared: true,
  },
  drawSharedChart: {
    summary: 'Draw a chart of a shared board',
    description: 'Returns the results of a chart as of at most a minute ago.',
    response: 'DrawnChart',
    responseDescription: 'The results',
    ids: ['index'],
    isShared: true,
    errors: QUERY,
  },
  listAnnotations: {
    summary: 'List annotations',
    description: 'Requires the role `admin` or `viewer`. Returns the annotations in a range, oldest first.',
    response: 'Annotations',
    responseDescription: 'The annotations',
    errors: ['forbidden'],
  },
  createAnnotation: {
    summary: 'Add an annotation',
    description: 'Requires the role `admin`. Marks a time in all charts, such as a deployment.',
    response: 'Annotation',
    responseDescription: 'The stored annotation',
    body: 'AnnotationBody',
    errors: CHANGE,
  },
  deleteAnnotation: {
    summary: 'Delete an annotation',
    description: 'Requires the role `admin`.',
    response: 'Deleted',
    responseDescription: 'The annotation was deleted',
    ids: ['annotation_id'],
    errors: [...CHANGE, 'not_found'],
  },
  listUnits: {
    summary: 'List the units of metrics',
    description: 'Returns the metrics that have a unit. Users get only those that they have recorded.',
    response: 'Units',
    responseDescription: 'The units',
  },
  setUnit: {
    summary: 'Set the unit of a metric',
    description:
      'Requires the role `admin`. The unit is shown with the values of the metric, which it does not change.',
    response: 'Unit',
    responseDescription: 'The stored unit',
    body: 'UnitBody',
    errors: CHANGE,
  },
} as const satisfies Record<string, BoardRoute>;

const BODY_ERRORS: readonly ErrorCode[] = ['invalid_json', 'payload_too_large', 'unsupported_media_type'];

/**
 * Documents a route of boards, shared links, annotations or units.
 *
 * @param operationId what generators call its function; it never changes
 * @param parameters its query parameters
 */
export function documentBoardRoute(
  operationId: keyof typeof ROUTES,
  parameters: NonNullable<DocumentDecoration['parameters']> = [],
): DocumentDecoration {
  const route: BoardRoute = ROUTES[operationId];
  const { summary, description, response, responseDescription, body, ids = [], isShared, errors = [] } = route;
  const codes = [...new Set([...BASIC, ...errors, ...(body ? BODY_ERRORS : [])])];
  return {
    tags: ['Boards'],
    operationId,
    summary,
    description,
    security: [isShared ? { boardLink: [] } : { bearer: [] }],
    parameters: [
      ...ids.map((name) => ({
        ...({ name, in: 'path', required: true, description: IDS[name] } as const),
        schema: name === 'index' ? ({ type: 'integer', minimum: 0 } as const) : ({ type: 'string' } as const),
      })),
      ...parameters,
    ],
    ...(body && {
      requestBody: {
        required: true,
        content: { 'application/json': { schema: ref(body), example: ALL_BODIES[body]['example'] } },
      },
    }),
    responses: {
      '200': {
        description: responseDescription,
        content: { 'application/json': { schema: ref(response), example: EXAMPLES[response] } },
      },
      ...errorResponses(codes.filter((code) => !isShared || code !== 'keys_unavailable')),
    },
  };
}
