import type { ComponentChildren } from 'preact';
import { useMemo } from 'preact/hooks';
import { useShownRange } from '../shown-range.ts';
import { UnitsContext } from '../units.ts';
import { AnnotationsContext, marksOf, useAnnotations } from './annotations.ts';
import { type Permissions, PermissionsContext } from './permissions.ts';
import { useBoardQuery } from './requests.ts';

interface ProvidersProps extends Permissions {
  /** Whether the shown range is known. */
  readonly isReady: boolean;
  readonly children: ComponentChildren;
}

/** Provides views with what the user may do, the units of metrics, and the annotations in the shown range. */
export function Providers({ isReady, isAdmin, canSeeAllUsers, canHaveBoards, children }: ProvidersProps) {
  const permissions = useMemo(
    () => ({ isAdmin, canSeeAllUsers, canHaveBoards }),
    [isAdmin, canSeeAllUsers, canHaveBoards],
  );
  const units = useBoardQuery('units', '/api/units').value?.units;
  const range = useShownRange();
  const annotations = useAnnotations(isReady && canSeeAllUsers ? range : undefined);
  const marks = useMemo(() => marksOf(annotations), [annotations]);
  return (
    <PermissionsContext.Provider value={permissions}>
      <UnitsContext.Provider value={units ?? []}>
        <AnnotationsContext.Provider value={marks}>{children}</AnnotationsContext.Provider>
      </UnitsContext.Provider>
    </PermissionsContext.Provider>
  );
}
