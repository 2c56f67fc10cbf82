import { type Static, type TSchema, Type } from '@sinclair/typebox';
import { BoardChart, CHART_QUERIES } from './board-bodies.ts';
import { literals, orNull, record, time, zoneOffsets } from './response-schema.ts';

/*
 * Schemas of the responses about boards, shared links, annotations and units.
 */

const boardId = Type.String({ pattern: '^[\\w-]{22}$', description: 'Random ID' });

export const Board = record({
  id: boardId,
  name: Type.String(),
  scope: literals(['account', 'everyone']),
  can_edit: Type.Boolean({ description: 'Whether the caller may change and delete the board' }),
  charts: Type.Array(BoardChart),
  created_at: time,
  updated_at: time,
});
export type Board = Static<typeof Board>;
export const Boards = record({
  boards: Type.Array(
    record({
      id: boardId,
      name: Type.String(),
      scope: literals(['account', 'everyone']),
      can_edit: Type.Boolean(),
      charts: Type.Integer({ minimum: 0, description: 'Number of charts' }),
      created_at: time,
      updated_at: time,
    }),
  ),
});
export type Boards = Static<typeof Boards>;
export const Deleted = record({ id: Type.String({ description: 'The ID of what was deleted' }) });
export type Deleted = Static<typeof Deleted>;

const link = {
  id: Type.String({ description: 'Random ID, with which the link can be revoked; it does not open the board' }),
  board_id: boardId,
  user_id: Type.String({ description: 'The user who created the link' }),
  rows: literals(['all', 'user']),
  created_at: time,
  expires_at: time,
};
export const SharedLink = record(link);
export type SharedLink = Static<typeof SharedLink>;
export const SharedLinks = record({ links: Type.Array(SharedLink) });
export type SharedLinks = Static<typeof SharedLinks>;
export const CreatedLink = record({
  ...link,
  value: Type.String({ description: 'The secret for `X-Board-Link`; returned only here' }),
  path: Type.String({ description: 'Path of the shared page, with the value as its fragment' }),
});
export type CreatedLink = Static<typeof CreatedLink>;

export const Annotation = record({
  id: Type.String({ description: 'Random ID' }),
  timestamp: Type.String({ format: 'date-time', description: 'When it happened' }),
  text: Type.String(),
  url: orNull(Type.String({ description: 'An http or https URL' })),
  author: orNull(Type.String({ description: 'The user ID of the admin who added it; null once erased' })),
});
export type Annotation = Static<typeof Annotation>;
export const Annotations = record({ annotations: Type.Array(Annotation) });
export type Annotations = Static<typeof Annotations>;

const better = orNull(literals(['lower', 'higher']));
export const Unit = record({ name: Type.String(), unit: orNull(Type.String()), better });
export type Unit = Static<typeof Unit>;
export const Units = record({ units: Type.Array(record({ name: Type.String(), unit: Type.String(), better })) });
export type Units = Static<typeof Units>;

const chartHead = {
  title: Type.String(),
  view: Type.String({ description: 'The query string of the page’s URL for this view, without a user' }),
  query: literals(CHART_QUERIES),
  tz: Type.String({ description: 'IANA time zone of the chart' }),
};
export const DrawnChart = record({
  ...chartHead,
  from: orNull(Type.String({ format: 'date-time', description: 'Start of the range; null: that of the rows' })),
  to: orNull(Type.String({ format: 'date-time', description: 'End of the range; null: that of the rows' })),
  result: Type.Object({}, { additionalProperties: true, description: 'The response of the query’s route' }),
  compared: orNull(
    Type.Object(
      {},
      { additionalProperties: true, description: 'The same for the range that it is compared with; null without one' },
    ),
  ),
  unit: orNull(record({ unit: Type.String(), better }, 'Unit of the metric')),
  annotations: Type.Array(
    record({
      timestamp: Type.String({ format: 'date-time' }),
      text: Type.String(),
      url: orNull(Type.String()),
    }),
    { description: 'Those in the range; none if the chart reads only the rows of one user' },
  ),
});
export type DrawnChart = Static<typeof DrawnChart>;
export const SharedBoard = record({
  name: Type.String(),
  expires_at: time,
  charts: Type.Array(record(chartHead)),
  zones: Type.Array(zoneOffsets, { description: 'The time zones of the charts' }),
});
export type SharedBoard = Static<typeof SharedBoard>;

/** These schemas, by component name in the OpenAPI document. */
export const BOARD_RESPONSES = {
  Board,
  Boards,
  SharedLink,
  SharedLinks,
  CreatedLink,
  SharedBoard,
  DrawnChart,
  Annotation,
  Annotations,
  Unit,
  Units,
  Deleted,
} as const satisfies Record<string, TSchema>;
