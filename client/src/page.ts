/** What a page or worker tells the client. */
interface PageEvents {
  /** The page is hidden, and may end. */
  hidden(): void;
  /** The page ends, or is put into the back/forward cache. */
  left(): void;
  /** The page is shown again after it was frozen or in the back/forward cache. */
  resumed(): void;
  /** There is a network again. */
  online(): void;
}

/** Calls back on events of the page or worker, until the returned controller is aborted. */
export function watchPage({ hidden, left, resumed, online }: PageEvents): AbortController {
  const controller = new AbortController();
  const on = (target: Partial<EventTarget>, type: string, listener: (event: Event) => void) =>
    target.addEventListener?.(type, listener, controller);
  on(globalThis, 'online', online);
  if (typeof document === 'object') {
    on(globalThis, 'pagehide', left);
    on(globalThis, 'pageshow', (event) => (event as PageTransitionEvent).persisted && resumed());
    on(document, 'resume', resumed);
    on(document, 'visibilitychange', () => document.visibilityState === 'hidden' && hidden());
  }
  return controller;
}

/** Whether there may be a network. Node and Bun do not say. */
export const isOnline = (): boolean => (globalThis.navigator as Navigator | undefined)?.onLine !== false;
