/** Returns whether a text is an http or https URL, without characters that URL parsers ignore. */
export function isWebUrl(text: string): boolean {
  return /^https?:\/\/[^\s\p{Cc}]+$/iu.test(text) && URL.canParse(text);
}
