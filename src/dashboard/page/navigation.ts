import { createContext } from 'preact';
import { useContext, useEffect, useState } from 'preact/hooks';
import { type Address, DEFAULTS, linkTo, readAddress } from './address.ts';

/** The current address, and a function that changes it. */
export interface Navigation {
  readonly address: Address;
  /** Applies changes to the address. Adds an entry to the browser's history, or replaces the current one. */
  readonly go: (change: Partial<Address>, options?: { replace: boolean }) => void;
}

export const NavigationContext = createContext<Navigation>({ address: DEFAULTS, go: () => {} });

/** Returns the current address and the function that changes it. */
export function useNavigation(): Navigation {
  return useContext(NavigationContext);
}

/** Binds the address to the browser's URL and history. For the root component; others call {@link useNavigation}. */
export function useBrowserNavigation(): Navigation {
  const [address, setAddress] = useState(() => readAddress(location.search));
  useEffect(() => {
    history.replaceState(null, '', linkTo(readAddress(location.search)) + location.hash);
    const onMove = () => setAddress(readAddress(location.search));
    addEventListener('popstate', onMove);
    return () => removeEventListener('popstate', onMove);
  }, []);
  const go: Navigation['go'] = (change, { replace } = { replace: false }) => {
    const current = readAddress(location.search);
    // another range has another length
    const next = { ...current, ...('from' in change && { span: undefined }), ...change };
    const link = linkTo(next);
    if (link === location.pathname + location.search) return;
    if (replace) history.replaceState(null, '', link);
    else history.pushState(null, '', link);
    setAddress(next);
    if (next.view !== current.view) startAtTop();
  };
  return { address, go };
}

/** Scrolls to the top of a new view. If the link to it was in the view before, the focus moves to the new one. */
function startAtTop(): void {
  scrollTo(0, 0);
  const content = document.getElementById('content');
  if (content?.contains(document.activeElement)) content.focus({ preventScroll: true });
}

/** Stores a default name in the address, so a shared URL keeps showing the same one. */
export function useNameInAddress(name: string | undefined): void {
  const { address, go } = useNavigation();
  useEffect(() => {
    if (address.name === undefined && name !== undefined) go({ name }, { replace: true });
  });
}
