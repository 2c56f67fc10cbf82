/** A choice. The value undefined stands for "any" or "none". */
export interface Choice {
  readonly value: string | undefined;
  readonly text: string;
}

/** Maximum number of choices listed at once. Typing narrows them down. */
const MAX_LISTED = 50;

/** Returns the choices that contain the typed text, best first, and the text itself if it is none of them. */
export function listedChoices(choices: readonly Choice[], draft: string | undefined): readonly Choice[] {
  const typed = draft?.trim().toLowerCase() ?? '';
  if (draft === undefined || typed === '') return choices.slice(0, MAX_LISTED);
  const found = choices.filter(({ text }) => text.toLowerCase().includes(typed));
  const starts = found.filter(({ text }) => text.toLowerCase().startsWith(typed));
  const listed = [...starts, ...found.filter((choice) => !starts.includes(choice))].slice(0, MAX_LISTED);
  const isListed = listed.some(({ text }) => text === draft);
  return isListed ? listed : [...listed, { value: draft, text: `Use “${draft}”` }];
}
