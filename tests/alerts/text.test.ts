import { expect, test } from 'bun:test';
import fc from 'fast-check';
import { durationText, harmless, nameText } from '../../src/alerts/text.ts';

test.each([
  ['checkout_ms', 'checkout_ms'],
  ['@everyone', '@\u200beveryone'],
  ['<!channel> <@U123> & co', '&lt;!channel&gt; &lt;@\u200bU123&gt; &amp; co'],
  ['[click](https://evil.example)', '[click]\u200b(https:\u200b//evil.example)'],
  ['www.evil.example', 'www.\u200bevil.example'],
  ['a`b`', "a'b'"],
  ['a\nb\u202ec\u0000d\u200be\ud800', 'a\\u{a}b\\u{202e}c\\u{0}d\\u{200b}e\\u{d800}'],
  ['\u2028\u00a0 ', '\\u{2028}\\u{a0} '],
  ['🦀'.repeat(101), `${'🦀'.repeat(100)}…`],
  ['🦀'.repeat(100), '🦀'.repeat(100)],
])('%p is shown as %p', (text, shown) => {
  expect(harmless(text)).toBe(shown);
});

test('no text mentions anyone, links anywhere or leaves its code', () => {
  const unit = fc.oneof(
    fc.constantFrom(...'@<>&`[]():/.!', 'www', 'here', '\n', '\u202e'),
    fc.string({ unit: 'binary' }),
  );
  fc.assert(
    fc.property(fc.string({ unit }), (text) => {
      const shown = nameText(text).replace(/^`|`$/g, '');
      expect(shown).not.toMatch(/[<>`\n\u202e]|@(?!\u200b)|\]\(|:\/|www\.(?!\u200b)/i);
      expect(shown.replaceAll(/&(?:amp|lt|gt);/g, '')).not.toContain('&');
    }),
  );
  expect(nameText('')).toBe('the empty name');
});

test('durations have two units', () => {
  expect([-1, 0, 59.9, 60, 3_661, 90_000, 172_800].map(durationText)).toEqual([
    ...['0 seconds', '0 seconds', '59 seconds', '1 minute', '1 hour 1 minute', '1 day 1 hour', '2 days'],
  ]);
});
