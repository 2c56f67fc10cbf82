import { expect, test } from 'bun:test';
import { escapeControls, escapeControlsInCrlfLines, escapeControlsInLines } from '../../src/formats/visible-text.ts';

const CODES = [
  ...Array.from({ length: 0x20 }, (_, i) => i),
  ...Array.from({ length: 0x21 }, (_, i) => 0x7f + i),
  ...[0x061c, 0x200e, 0x200f, 0x202a, 0x202b, 0x202c, 0x202d, 0x202e, 0x2066, 0x2067, 0x2068, 0x2069],
];
const escapeOf = (code: number) => `\\u${code.toString(16).padStart(4, '0')}`;

test('C0 and C1 control characters, DEL and bidirectional controls are escaped, and nothing else is', () => {
  for (let code = 0; code < 0x10000; code++) {
    const text = `a${String.fromCharCode(code)}b`;
    expect(escapeControls(text)).toBe(CODES.includes(code) ? `a${escapeOf(code)}b` : text);
  }
  expect(escapeControls('Zoë 日本 🙂 \\u009b')).toBe('Zoë 日本 🙂 \\u009b');
});

test('line ends can be kept', () => {
  expect(escapeControlsInLines('a\nb\r\nc\td')).toBe('a\nb\\u000d\nc\\u0009d');
  expect(escapeControlsInCrlfLines('a\nb\r\nc\rd\r\r\n')).toBe('a\nb\r\nc\\u000dd\\u000d\r\n');
});

test('escaped JSON is valid and means the same', () => {
  const value = { [String.fromCharCode(...CODES)]: `\\${String.fromCharCode(...CODES)}"` };
  expect(JSON.parse(escapeControls(JSON.stringify(value)))).toEqual(value);
});
