import { createContext } from 'preact';
import { useContext } from 'preact/hooks';

/** What the signed-in user may do; the server checks it. */
export interface Permissions {
  readonly isAdmin: boolean;
  readonly canSeeAllUsers: boolean;
  /** Whether boards can be stored: not in the demo, which only reads. */
  readonly canHaveBoards: boolean;
}

export const PermissionsContext = createContext<Permissions>({
  isAdmin: false,
  canSeeAllUsers: false,
  canHaveBoards: false,
});

/** Returns what the signed-in user may do. */
export function usePermissions(): Permissions {
  return useContext(PermissionsContext);
}
