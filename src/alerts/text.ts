/*
 * Texts in alerts. Chat services render them, and names of metrics and event types come from users.
 */

/** Code points of a name that are shown; 100 suffice to recognize one. */
const MAX_NAME_LENGTH = 100;
/** A zero-width space: it separates characters that a chat service would interpret together. */
const SEPARATOR = '\u200b';
/** Control, format (such as bidirectional) and private characters, lone surrogates, and separators other than a space. */
const INVISIBLE = /[\p{C}\p{Zl}\p{Zp}]|(?! )\p{Zs}/gu;
const ENTITIES: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;' };

/**
 * Returns a text that no chat service interprets, cut to 100 code points. Mentions (`@everyone`, `<!channel>`, `<@U1>`),
 * links and markup have no effect, and invisible characters are shown as their code points.
 */
export function harmless(text: string): string {
  const points = Array.from(text.slice(0, 2 * MAX_NAME_LENGTH + 2)); // a code point has at most two units
  const shown = points.length > MAX_NAME_LENGTH ? `${points.slice(0, MAX_NAME_LENGTH).join('')}…` : text;
  return shown
    .replace(INVISIBLE, (character) => `\\u{${character.codePointAt(0)?.toString(16)}}`)
    .replaceAll('`', "'")
    .replace(/[&<>]/g, (character) => ENTITIES[character] as string)
    .replace(/@|\](?=[([])|:(?=\/)|(?<=www)\./gi, (character) => character + SEPARATOR);
}

/** Returns a name as code, in which chat services look for neither mentions nor links, made {@link harmless}. */
export function nameText(name: string): string {
  return name === '' ? 'the empty name' : `\`${harmless(name)}\``;
}

/** Returns a duration as its two largest units, such as "2 days 3 hours" or "45 minutes". */
export function durationText(seconds: number): string {
  const units = [
    ['day', 86_400],
    ['hour', 3_600],
    ['minute', 60],
    ['second', 1],
  ] as const;
  const first = units.findIndex(([, size]) => seconds >= size);
  if (first < 0) return '0 seconds';
  let rest = Math.floor(seconds);
  const parts = units.slice(first, first + 2).flatMap(([unit, size]) => {
    const count = Math.floor(rest / size);
    rest -= count * size;
    return count === 0 ? [] : [`${count} ${unit}${count === 1 ? '' : 's'}`];
  });
  return parts.join(' ');
}
