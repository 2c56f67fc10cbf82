import { formatText } from '../../format.ts';

/** A group of a response: an object that contains its value by the name of what it is grouped by. */
type Group = Readonly<Record<string, unknown>>;

/** The text of a group whose events lack the property, or have an object or a list in its place. */
export const NONE = '(none)';

/** Returns the value of a group as a filter expects it; undefined for events without the property. */
export function groupValue(group: Group, groupBy: string): string | undefined {
  const value = group[groupBy];
  if (value === null || value === undefined) return undefined;
  // a number that a double cannot represent is an object with its digits, which JSON.stringify returns
  return typeof value === 'string' ? value : JSON.stringify(value);
}

/** Returns the value of a group for readers. */
export function groupText(group: Group, groupBy: string): string {
  const value = groupValue(group, groupBy);
  return value === undefined ? NONE : formatText(value);
}
