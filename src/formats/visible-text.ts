/*
 * Text that is printed in a terminal, which obeys control characters: a recorded name could hide text, change what was printed
 * before it, or type into the shell.
 */

/** The characters that a terminal obeys: C0, C1, DEL, and those that change the direction of text. */
const UNSAFE = /[\p{Cc}\p{Bidi_Control}]/gu;
const UNSAFE_IN_LINES = /(?!\n)[\p{Cc}\p{Bidi_Control}]/gu;
const UNSAFE_IN_CRLF_LINES = /(?!\r?\n)[\p{Cc}\p{Bidi_Control}]/gu;

/**
 * Replaces C0 and C1 control characters, DEL and bidirectional controls by escapes such as `\u009b`. JSON stays valid, and
 * means the same.
 */
export function escapeControls(text: string): string {
  return text.replace(UNSAFE, escapeOf);
}

/** As {@link escapeControls}, but keeps line feeds. */
export function escapeControlsInLines(text: string): string {
  return text.replace(UNSAFE_IN_LINES, escapeOf);
}

/** As {@link escapeControls}, but keeps line feeds, and carriage returns before them. */
export function escapeControlsInCrlfLines(text: string): string {
  return text.replace(UNSAFE_IN_CRLF_LINES, escapeOf);
}

function escapeOf(character: string): string {
  return `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;
}
