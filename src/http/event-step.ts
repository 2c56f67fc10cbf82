import type { ValidationIssue } from '../errors.ts';
import type { EventStep } from '../query/event-step.ts';

/** How a step names its events, for the documentation of parameters. */
export const STEP_SYNTAX =
  'a type, or a type and a `data_index` separated by a colon (`purchase`, `purchase:pro`). In the type, write a literal colon as `\\:` and a backslash as `\\\\`. With the parameter `type`, a step is only a `data_index`, without escapes';

/** A type, in which backslashes escape colons and backslashes; then optionally a colon and a `data_index`. */
const STEP = /^([^\\:]*(?:\\[\\:][^\\:]*)*)(?::(.*))?$/su;

/** Parses a step that names its type; undefined if a backslash in the type escapes neither a colon nor a backslash. */
function parseStep(step: string): EventStep | undefined {
  const found = STEP.exec(step);
  if (!found) return undefined;
  const [, type = '', dataIndex] = found;
  return { step, type: type.replace(/\\(.)/gsu, '$1'), dataIndex };
}

/**
 * Returns the event that a step names.
 *
 * @param step a step without issues: see {@link stepConflicts}
 * @param type the event type of all steps; undefined: the step names it
 */
export function eventStep(step: string, type: string | undefined): EventStep {
  if (type !== undefined) return { step, type, dataIndex: step };
  const parsed = parseStep(step);
  if (!parsed) throw new Error('a step must be validated before it is used');
  return parsed;
}

/** Returns the issues of steps that name their type, one per invalid step. Absent parameters are undefined. */
export function stepConflicts({
  type,
  ...parameters
}: {
  readonly type: string | undefined;
  readonly step: string | readonly string[] | undefined;
  readonly return_step?: string | undefined;
}): ValidationIssue[] {
  if (type !== undefined) return [];
  const msg =
    'Value error, a step should be a type, or a type and a data_index separated by a colon; write a literal colon in the type as \\: and a backslash as \\\\';
  return (['step', 'return_step'] as const).flatMap((name) =>
    [parameters[name] ?? []]
      .flat()
      .filter((step) => !parseStep(step))
      .map(() => ({ loc: ['query', name], msg, type: 'value_error' })),
  );
}
