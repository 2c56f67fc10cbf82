/** Something that the operator should know. */
export interface Finding {
  /** What was checked: a stable name for scripts. */
  readonly check: string;
  /** A `problem` needs the operator; a `reminder` is worth reading once. */
  readonly level: 'problem' | 'reminder';
  /** What is wrong, in a sentence without hosts, IDs, names or paths, so that it can be published. */
  readonly summary: string;
  /** What to do, likewise. */
  readonly remedy: string;
  /** The hosts, names or paths that are concerned. Never a secret. */
  readonly detail?: string;
}

/** Creates the function that reports the problems of a check. */
export function problemsOf(check: string): (summary: string, remedy: string, detail?: string) => Finding {
  return (summary, remedy, detail) => ({
    ...{ check, level: 'problem', summary, remedy },
    ...(detail !== undefined && { detail }),
  });
}
