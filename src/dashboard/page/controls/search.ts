/** Returns the choices that contain every word of a search, those that begin with it first. */
export function matching(choices: readonly string[], search: string): string[] {
  const plain = (text: string) => text.toLowerCase().replaceAll(/[_/]/g, ' ');
  const words = plain(search).split(' ').filter(Boolean);
  const found = choices.filter((choice) => words.every((word) => plain(choice).includes(word)));
  const [first = ''] = words;
  const begins = (choice: string) =>
    plain(choice)
      .split(' ')
      .some((part) => part.startsWith(first));
  return [...found.filter(begins), ...found.filter((choice) => !begins(choice))];
}
