import { createContext } from 'preact';
import { useMemo } from 'preact/hooks';
import type { Range } from '../calendar.ts';
import type { Annotation as Mark } from '../chart/line.ts';
import { type Annotation, useBoardQuery } from './requests.ts';

/** The annotations that charts mark, unless they have their own. */
export const AnnotationsContext = createContext<readonly Mark[]>([]);

/**
 * Returns the annotations in a range, oldest first.
 *
 * @param range undefined: none
 */
export function useAnnotations(range: Range | undefined): readonly Annotation[] {
  const parameters = range && { from: range.from, to: range.to };
  // those of another range stay until the new ones arrive: a range that ends now changes with each refresh
  const query = useBoardQuery('annotations', range && '/api/annotations', parameters, false, 'annotations');
  const found = query.value?.annotations;
  return useMemo(() => found ?? [], [found]);
}

/** Returns annotations as charts mark them. */
export function marksOf(annotations: readonly { readonly timestamp: string; readonly text: string }[]): Mark[] {
  return annotations.map(({ timestamp, text }) => ({ at: new Date(timestamp), text }));
}
