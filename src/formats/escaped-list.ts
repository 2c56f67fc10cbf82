/**
 * Splits a text at each separator that has no backslash before it. Escapes stay as they are.
 *
 * @param separator a single UTF-16 code unit
 */
export function splitUnescaped(text: string, separator: string): string[] {
  const parts: string[] = [];
  let start = 0;
  for (let at = 0; at < text.length; at++) {
    if (text[at] === '\\') at++;
    else if (text[at] === separator) {
      parts.push(text.slice(start, at));
      start = at + 1;
    }
  }
  return [...parts, text.slice(start)];
}

/**
 * Removes the backslashes that escape a backslash or one of the separators.
 *
 * @param separators the characters that may be escaped, besides the backslash
 * @returns undefined if a backslash escapes anything else
 */
export function unescapeText(escaped: string, separators: string): string | undefined {
  let text = '';
  for (let at = 0; at < escaped.length; at++) {
    if (escaped[at] === '\\' && !`\\${separators}`.includes(escaped[++at] ?? '\0')) return undefined;
    text += escaped[at];
  }
  return text;
}
