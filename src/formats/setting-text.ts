const NAMES: Readonly<Record<string, string>> = {
  '\0': 'a NUL character',
  '\t': 'a tab',
  '\n': 'a line feed',
  '\r': 'a carriage return',
  ' ': 'a space',
  '\u00a0': 'a no-break space',
  '\u200b': 'a zero-width space',
  '\ufeff': 'a byte order mark',
};

/** Pairs of quotation marks, by the opening one. */
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
/** What text editors, shells and files add around a value: white space, control and invisible characters. */
const LEADING = /^[\s\p{Cc}\p{Cf}]+/u;
const TRAILING = /[\s\p{Cc}\p{Cf}]+$/u;

/**
 * Checks the text of a setting, or of an item in a list, for characters that no value is meant to have: control
 * characters, surrounding whitespace and surrounding quotes.
 *
 * @throws {Error} naming the character, never the text: "ends with a line feed"
 */
export function checkSettingText(text: string): void {
  // what is not UTF-8 has become U+FFFD
  if (text.includes('\ufffd')) throw new Error('is not valid UTF-8');
  const trailing = TRAILING.exec(text)?.[0];
  if (trailing !== undefined) throw new Error(`ends with ${named(trailing)}`);
  const leading = LEADING.exec(text)?.[0];
  if (leading !== undefined) throw new Error(`begins with ${named(leading)}`);
  const control = CONTROL.exec(text)?.[0];
  if (control !== undefined) throw new Error(`contains ${named(control)}`);
  const [first = ''] = text;
  if (text.length > 1 && Object.hasOwn(QUOTES, first) && text.endsWith(QUOTES[first] ?? '')) {
    throw new Error(`is enclosed in quotes (${first})`);
  }
}

/** Names the characters of a text, each once. */
function named(characters: string): string {
  const names = [...characters].map((character) => {
    const code = character.codePointAt(0)?.toString(16).toUpperCase().padStart(4, '0');
    return NAMES[character] ?? `the character U+${code}`;
  });
  return [...new Set(names)].join(' and ');
}
