import type { EventStep } from '../event-step.ts';
import type { RetentionQuery } from '../retention.ts';
import { every, type Sql, sql, text } from './sql.ts';
import { TABLES } from './tables.ts';

const { name, label } = TABLES.analytics;

/** Returns the condition that an event matches a step. */
export function stepCondition({ type, dataIndex }: EventStep): Sql {
  const hasType = sql`${name} = ${text(type)}`;
  return dataIndex === undefined ? hasType : sql`(${every([hasType, sql`${label} = ${text(dataIndex)}`])})`;
}

/** Returns the event types of some steps, each once. */
export function typesOf(steps: readonly EventStep[]): string[] {
  return [...new Set(steps.map(({ type }) => type))];
}

/** Returns the event types that cohort retention reads; undefined: all. */
export function returnTypes({ step, returnStep, type }: RetentionQuery): string[] | undefined {
  if (returnStep) return typesOf([step, returnStep]);
  return type === undefined ? undefined : [type];
}
