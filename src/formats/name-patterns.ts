import { splitUnescaped } from './escaped-list.ts';
import { checkSettingText } from './setting-text.ts';

/** Tests whether a metric name or event type is allowed. */
export type NameTest = (name: string) => boolean;

/** Any sequence of characters, and any one character, in a parsed pattern. */
const ANY = Symbol('*');
const ONE = Symbol('?');
type Pattern = readonly (string | typeof ANY | typeof ONE)[];

/**
 * Parses a comma-separated list of patterns for names, such as `signup,page_*`. `*` stands for any characters, also none
 * and also slashes; `?` for one character; a backslash makes the next `*`, `?`, comma or backslash literal.
 *
 * @returns tests whether a name as a whole matches one of the patterns
 * @throws {Error} if there is no pattern, or a backslash escapes another character
 */
export function parseNamePatterns(text: string): NameTest {
  const patterns = splitUnescaped(text, ',').flatMap((entry) => {
    const trimmed = entry.trim();
    checkSettingText(trimmed);
    return trimmed === '' ? [] : [parsePattern(trimmed)];
  });
  if (patterns.length === 0) throw new Error('should name at least one name or pattern, such as signup,page_*');
  return (name) => {
    const characters = [...name];
    return patterns.some((pattern) => matches(pattern, characters));
  };
}

function parsePattern(text: string): Pattern {
  const pattern: (string | typeof ANY | typeof ONE)[] = [];
  const characters = [...text];
  for (let i = 0; i < characters.length; i++) {
    const character = characters[i] as string;
    if (character === '*') pattern.push(ANY);
    else if (character === '?') pattern.push(ONE);
    else if (character !== '\\') pattern.push(character);
    else {
      const escaped = characters[++i] ?? '';
      if (!['*', '?', ',', '\\'].includes(escaped)) {
        throw new Error('should have a backslash only before an asterisk, question mark, comma or backslash');
      }
      pattern.push(escaped);
    }
  }
  return pattern;
}

/**
 * Returns whether a text matches a pattern, in time proportional to the product of their lengths at worst: after a
 * mismatch, only the last `*` takes one character more.
 */
function matches(pattern: Pattern, characters: readonly string[]): boolean {
  let at = 0;
  let star = -1;
  let resumeAt = 0;
  for (let i = 0; i < characters.length; ) {
    const expected = pattern[at];
    if (expected === ANY) {
      star = at++;
      resumeAt = i;
    } else if (expected === ONE || expected === characters[i]) {
      at++;
      i++;
    } else if (star >= 0) {
      at = star + 1;
      i = ++resumeAt;
    } else return false;
  }
  while (pattern[at] === ANY) at++;
  return at === pattern.length;
}
