/** A choice of a combobox. The value undefined stands for "any" or "none". */
export interface Choice {
  readonly value: string | undefined;
  readonly text: string;
}

/** Maximum number of choices listed at once. Typing narrows them down. */
const MAX_LISTED = 50;

/**
 * Returns the choices to list.
 *
 * @param draft - the typed text; undefined: nothing was typed yet, which lists all
 * @param allowsOther - whether a text that is none of the choices can be chosen too; it is then listed last
 */
export function listedChoices(
  choices: readonly Choice[],
  draft: string | undefined,
  allowsOther: boolean,
): readonly Choice[] {
  if (draft === undefined || draft.trim() === '') return choices.slice(0, MAX_LISTED);
  const listed = matching(choices, draft).slice(0, MAX_LISTED);
  if (!allowsOther || listed.some(({ text }) => text === draft)) return listed;
  return [...listed, { value: draft, text: `Use “${draft}”` }];
}

/** Ranks of {@link rankOf}, the best first. */
const RANKS = [0, 1, 2, 3, 4] as const;

/** Returns the choices that contain every word of a search, best first. */
function matching(choices: readonly Choice[], search: string): Choice[] {
  const ranked = Map.groupBy(choices, ({ text }) => rankOf(text.toLowerCase(), search.trim().toLowerCase()));
  return RANKS.flatMap((rank) => ranked.get(rank) ?? []);
}

/** Ranks a text: equal to the search, begins with it, with its first word, has a word that does, or only contains all words. */
function rankOf(text: string, search: string): (typeof RANKS)[number] | undefined {
  const words = wordsOf(search);
  if (!words.every((word) => text.includes(word))) return undefined;
  if (text === search) return 0;
  if (text.startsWith(search)) return 1;
  const [first = search] = words;
  if (text.startsWith(first)) return 2;
  return wordsOf(text).some((word) => word.startsWith(first)) ? 3 : 4;
}

function wordsOf(text: string): string[] {
  return text.split(/[\s_/]+/).filter(Boolean);
}
