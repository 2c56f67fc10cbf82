import { formatText } from '../format.ts';

/** A step of a funnel or of cohort retention: the events of a type, with one label or with any. */
export interface Step {
  readonly type: string;
  /** Undefined: any label. */
  readonly label: string | undefined;
}

/** A type, in which a backslash makes a colon or a backslash literal; then optionally a colon and a label. */
const STEP = /^((?:[^\\:]|\\.|\\$)*)(?::(.*))?$/su;

/** Parses a step as the query routes do: `type` or `type:label`. */
export function parseStep(text: string): Step {
  const [, escapedType = '', label] = STEP.exec(text) ?? []; // every text matches
  return { type: escapedType.replace(/\\([\\:])/gu, '$1'), label };
}

/** Returns a step as a parameter of the query routes. */
export function writeStep({ type, label }: Step): string {
  const escapedType = type.replace(/[\\:]/g, '\\$&');
  return label === undefined ? escapedType : `${escapedType}:${label}`;
}

/** Returns a step as people read it: `page_view: /pricing`. */
export function titleOfStep({ type, label }: Step): string {
  return label === undefined ? formatText(type) : `${formatText(type)}: ${formatText(label)}`;
}

/** Types that usually come first in the life of a user, most typical first. */
const FIRST_EVENTS = [
  /sign.?up/i,
  /regist(er|ration)/i,
  /(account|user).?created/i,
  /install/i,
  /first.?(open|visit|launch)/i,
  /onboard/i,
  /sign.?in|log.?in/i,
];

/** Types of events on the way from a visit to a payment, in the order in which users usually get there. */
const JOURNEY = [
  /page.?view|visit|app.?open/i,
  /sign.?up|regist(er|ration)/i,
  /tutorial|onboard|activat/i,
  /cart/i,
  /checkout/i,
  /purchase|payment|paid|subscri|order/i,
];

/**
 * Returns steps of a funnel that makes sense: types whose names tell their order, otherwise those with the most users.
 *
 * @param types the ones with the most users first
 */
export function exampleFunnel(types: readonly string[], count: number): Step[] {
  const named = JOURNEY.flatMap((pattern) => types.find((type) => pattern.test(type)) ?? []);
  const chosen = new Set(named);
  const steps = chosen.size >= 2 ? [...chosen] : types;
  return steps.slice(0, count).map((type) => ({ type, label: undefined }));
}

/** Returns the type that most likely begins the life of a user; otherwise the most frequent one. */
export function likelyFirstType(types: readonly string[]): string | undefined {
  for (const pattern of FIRST_EVENTS) {
    const found = types.find((type) => pattern.test(type));
    if (found !== undefined) return found;
  }
  return types[0];
}
