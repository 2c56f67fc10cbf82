import { createContext } from 'preact';
import { useContext, useEffect, useState } from 'preact/hooks';
import { type Address, DEFAULTS, linkTo, readAddress } from './address.ts';

/** Where the page is, and the way to somewhere else. */
export interface Place {
  readonly address: Address;
  /** Changes what is given. It is a step of the browser's history unless it replaces the last one. */
  readonly go: (change: Partial<Address>, options?: { replace: boolean }) => void;
}

export const PlaceContext = createContext<Place>({ address: DEFAULTS, go: () => {} });

/** Where the page is. */
export function usePlace(): Place {
  return useContext(PlaceContext);
}

/** Follows the browser's address. For the root of the page alone; the rest has {@link usePlace}. */
export function useBrowserAddress(): Place {
  const [address, setAddress] = useState(() => readAddress(location.search));
  useEffect(() => {
    history.replaceState(null, '', linkTo(readAddress(location.search)) + location.hash);
    const onMove = () => setAddress(readAddress(location.search));
    addEventListener('popstate', onMove);
    return () => removeEventListener('popstate', onMove);
  }, []);
  const go: Place['go'] = (change, { replace } = { replace: false }) => {
    const next = { ...readAddress(location.search), ...change };
    const link = linkTo(next);
    if (link === location.pathname + location.search) return;
    if (replace) history.replaceState(null, '', link);
    else history.pushState(null, '', link);
    setAddress(next);
  };
  return { address, go };
}

/** Puts the name that a view shows into the address, where it was the most frequent one of this user and this day. */
export function useNameInAddress(name: string | undefined): void {
  const { address, go } = usePlace();
  useEffect(() => {
    if (address.name === undefined && name !== undefined) go({ name }, { replace: true });
  });
}
