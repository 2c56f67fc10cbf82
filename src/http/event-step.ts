import type { EventStep } from '../query/event-step.ts';

/** How a step names its events, for the documentation of parameters. */
export const STEP_SYNTAX =
  'a type, or a type and a `data_index` separated by a colon (`purchase`, `purchase:pro`). In the type, write a literal colon as `\\:`, and a backslash before a colon or another backslash as `\\\\`. With the parameter `type`, a step is only a `data_index`, without escapes';

/** A type, in which a backslash makes the next character literal; then optionally a colon and a `data_index`. */
const STEP = /^((?:[^\\:]|\\.|\\$)*)(?::(.*))?$/su;

/**
 * Returns the event that a step names.
 *
 * @param type the event type of all steps; undefined: the step names it
 */
export function parseStep(step: string, type: string | undefined): EventStep {
  if (type !== undefined) return { step, type, dataIndex: step };
  const [, escapedType = '', dataIndex] = STEP.exec(step) ?? []; // every text matches
  return { step, type: escapedType.replace(/\\([\\:])/gu, '$1'), dataIndex };
}
