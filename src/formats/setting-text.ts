/** Names of characters that are invisible in an error message. */
const CHARACTER_NAMES: Readonly<Record<string, string>> = {
  '\0': 'a NUL character',
  '\t': 'a tab',
  '\n': 'a line feed',
  '\r': 'a carriage return',
  ' ': 'a space',
  '\u00a0': 'a no-break space',
  '\u200b': 'a zero-width space',
  '\ufeff': 'a byte order mark',
};

/** Closing quotation marks by opening mark. */
const QUOTES: Readonly<Record<string, string>> = {
  '"': '"',
  "'": "'",
  '`': '`',
  '\u2018': '\u2019',
  '\u201c': '\u201d',
  '\u00ab': '\u00bb',
};

/** Control characters and line separators. */
const CONTROL = /[\p{Cc}\u2028\u2029]/u;
/** Whitespace, control and invisible characters, which editors, shells and files add around a value. */
const LEADING = /^[\s\p{Cc}\p{Cf}]+/u;
const TRAILING = /[\s\p{Cc}\p{Cf}]+$/u;

/**
 * Checks the text of a setting, or of an item in a list, for characters that no value should contain: control
 * characters, surrounding whitespace and surrounding quotes.
 *
 * @throws {Error} naming the character, never the text: "ends with a line feed"
 */
export function checkSettingText(text: string): void {
  // decoding replaces invalid UTF-8 with U+FFFD
  if (text.includes('\ufffd')) throw new Error('is not valid UTF-8');
  const trailing = TRAILING.exec(text)?.[0];
  if (trailing !== undefined) throw new Error(`ends with ${namesOf(trailing)}`);
  const leading = LEADING.exec(text)?.[0];
  if (leading !== undefined) throw new Error(`begins with ${namesOf(leading)}`);
  const control = CONTROL.exec(text)?.[0];
  if (control !== undefined) throw new Error(`contains ${namesOf(control)}`);
  const [first = ''] = text;
  if (text.length > 1 && Object.hasOwn(QUOTES, first) && text.endsWith(QUOTES[first] ?? '')) {
    throw new Error(`is enclosed in quotes (${first})`);
  }
}

/** Returns the names of the distinct characters of a text. */
function namesOf(characters: string): string {
  const names = [...characters].map((character) => {
    const code = character.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0');
    return CHARACTER_NAMES[character] ?? `the character U+${code}`;
  });
  return [...new Set(names)].join(' and ');
}
