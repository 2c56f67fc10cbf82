/** A name in an engine: it is safe in names of tables, streams, objects and files, so that it needs no escapes anywhere. */
const NAME = /^[A-Za-z_][A-Za-z0-9_-]{0,62}$/;

/** Returns whether a text is safe as a name in every engine, and in names of objects. */
export function isEngineName(text: string): boolean {
  return NAME.test(text);
}
