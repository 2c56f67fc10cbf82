import { type Static, Type } from '@sinclair/typebox';
import { TypeCompiler } from '@sinclair/typebox/compiler';
import { MAX_NAME_LENGTH } from './records.ts'; // registers the formats

/*
 * The request bodies of boards, shared links, annotations and units. Unlike the recording routes, these accept no unknown
 * fields.
 */

/** Maximum number of charts on a board. */
export const MAX_CHARTS = 30;

/** Returns the schema of an object with exactly these fields. */
const strict = { additionalProperties: false } as const;
const texts = (maxLength: number, description: string) =>
  Type.String({ minLength: 1, maxLength, format: 'unicode', description });
const moment = (description: string) => Type.String({ format: 'date-time', description });

const Range = Type.Union(
  [
    Type.Object(
      {
        last: Type.String({
          pattern: '^[1-9]\\d{0,3}[hdM]$',
          description: 'A number of hours, days or months that end now: `24h`, `7d`, `12M`',
        }),
        whole: Type.Optional(
          Type.Literal(true, { description: 'Begins at midnight, so that the current day is the last of them' }),
        ),
      },
      strict,
    ),
    Type.Object(
      {
        period: Type.Union(
          ['day', 'week', 'month', 'year'].map((unit) => Type.Literal(unit as 'day' | 'week' | 'month' | 'year')),
          { description: 'A unit of the calendar' },
        ),
        back: Type.Optional(
          Type.Integer({
            minimum: 0,
            maximum: 1000,
            description: 'The last of the periods: 0 is the current one, 1 the one before. Default: 0.',
          }),
        ),
        count: Type.Optional(
          Type.Integer({ minimum: 1, maximum: 1000, description: 'Number of periods. Default: 1.' }),
        ),
      },
      strict,
    ),
    Type.Object({ from: moment('Start, inclusive'), to: moment('End, exclusive') }, strict),
    Type.Object({ all: Type.Literal(true, { description: 'All rows' }) }, strict),
  ],
  { description: 'The range of the query, evaluated whenever the chart is drawn' },
);
export type ChartRange = Static<typeof Range>;

/** Periods that a chart can be compared with. */
export const COMPARISONS = ['previous', 'year', 'weekdays'] as const;

/** The queries of charts, by the last part of their route. */
export const CHART_QUERIES = ['series', 'counts', 'funnel', 'retention'] as const;
export type ChartQueryName = (typeof CHART_QUERIES)[number];

const ChartQuery = Type.Object(
  {
    name: Type.Union(
      CHART_QUERIES.map((name) => Type.Literal(name)),
      {
        description:
          'The query: `series` is `GET /api/metrics/series`; `counts`, `funnel` and `retention` are below `/api/analytics`',
      },
    ),
    parameters: Type.Record(
      Type.String({ minLength: 1, maxLength: 1100 }),
      Type.Union([
        Type.String({ format: 'unicode' }),
        Type.Array(Type.String({ format: 'unicode' }), { maxItems: 100 }),
      ]),
      { description: 'The parameters of its route, without `from` and `to`. A list repeats a parameter.' },
    ),
    range: Range,
    compare: Type.Optional(
      Type.Union(
        COMPARISONS.map((name) => Type.Literal(name)),
        { description: 'Also queries the period before, the same one a year before, or the same weekdays before' },
      ),
    ),
  },
  strict,
);
export type ChartQuery = Static<typeof ChartQuery>;

export const BoardChart = Type.Object(
  {
    title: texts(200, 'Heading of the chart'),
    view: Type.String({
      maxLength: 2048,
      format: 'unicode',
      description: 'The query string of the dashboard’s URL for this view. It determines how the chart is drawn.',
    }),
    query: ChartQuery,
  },
  strict,
);
export type BoardChart = Static<typeof BoardChart>;

const exampleChart: BoardChart = {
  title: 'Signups',
  view: 'view=event&name=signup&range=30d',
  query: {
    name: 'counts',
    parameters: { type: 'signup', interval: '1d', tz: 'Europe/Berlin' },
    range: { last: '30d' },
  },
};

const BoardBody = Type.Object(
  {
    name: texts(100, 'Name of the board'),
    scope: Type.Union([Type.Literal('account'), Type.Literal('everyone')], {
      description: '`account`: only you see the board. `everyone`: all users see it, and admins can change it.',
    }),
    charts: Type.Array(BoardChart, { maxItems: MAX_CHARTS }),
  },
  { ...strict, example: { name: 'Growth', scope: 'account', charts: [exampleChart] } },
);
export type BoardBody = Static<typeof BoardBody>;
export const boardCheck = TypeCompiler.Compile(BoardBody);

const LinkBody = Type.Object(
  {
    expires: Type.Optional(
      Type.String({ description: 'How long the link works, such as `12h` or `30d`; at most `365d`. Default: `30d`.' }),
    ),
  },
  { ...strict, example: { expires: '30d' } },
);
export const linkCheck = TypeCompiler.Compile(LinkBody);

const AnnotationBody = Type.Object(
  {
    text: texts(500, 'What happened'),
    timestamp: Type.Optional(moment('When it happened, in RFC 3339. Default: now.')),
    url: Type.Optional(
      Type.String({ maxLength: 2048, format: 'unicode', description: 'An http or https URL with more about it' }),
    ),
  },
  {
    ...strict,
    example: { text: 'deploy 2.4.0', timestamp: '2026-03-01T10:00:00Z', url: 'https://example.com/releases/2.4.0' },
  },
);
export const annotationCheck = TypeCompiler.Compile(AnnotationBody);

const UnitBody = Type.Object(
  {
    name: texts(MAX_NAME_LENGTH, 'Name of the metric'),
    unit: Type.Union([texts(16, 'Unit, such as `ms`, `bytes`, `€` or `%`'), Type.Null()], {
      description: 'The unit; `null` removes it',
    }),
    better: Type.Optional(
      Type.Union([Type.Literal('lower'), Type.Literal('higher'), Type.Null()], {
        description: 'Which values are better; `null`, the default: neither',
      }),
    ),
  },
  { ...strict, example: { name: 'page_load_time', unit: 's', better: 'lower' } },
);
export const unitCheck = TypeCompiler.Compile(UnitBody);
