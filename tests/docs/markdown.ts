import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';

export const ROOT = resolve(import.meta.dir, '../..');

/** A fenced code block. */
export interface CodeBlock {
  /** The file and line where it starts. */
  readonly place: string;
  readonly language: string;
  /** The word after the language, which says how the tests run the block. Readers do not see it. */
  readonly mode: string;
  readonly text: string;
}

/** A Markdown file of the repository. */
export interface Document {
  /** Path from the root of the repository. */
  readonly path: string;
  readonly text: string;
  readonly blocks: readonly CodeBlock[];
  /** The text without code blocks. */
  readonly prose: string;
}

/** Reads a Markdown file. */
export function readDocument(path: string): Document {
  const text = readFileSync(join(ROOT, path), 'utf8');
  const blocks: CodeBlock[] = [];
  const prose = text.replace(/^```(\w*) ?(\w*)\n([\s\S]*?)^```$/gm, (_, language, mode, code, offset: number) => {
    const line = text.slice(0, offset).split('\n').length;
    blocks.push({ place: `${path}:${line}`, language, mode, text: code });
    return '';
  });
  return { path, text, blocks, prose };
}

/** Every document for users and maintainers. */
export const DOCUMENTS: readonly Document[] = [
  'README.md',
  'CONTRIBUTING.md',
  'CHANGELOG.md',
  'SECURITY.md',
  'client/README.md',
  ...readdirSync(join(ROOT, 'docs'))
    .filter((name) => name.endsWith('.md'))
    .map((name) => `docs/${name}`),
].map(readDocument);
