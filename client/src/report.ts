import type { ClientOptions, Item } from './types.ts';

/** Returns a function that hands items back to the product. It never throws. The message is by default the code. */
export const createReporter =
  (onRejected: ClientOptions['onRejected']) =>
  (items: Item[], code: string, message = code, status = 0): void => {
    try {
      if (onRejected) onRejected(items, { status, code, message });
      // biome-ignore lint/suspicious/noConsole: without onRejected, nothing else reports them
      else console.warn(`rawlog: ${items.length} rejected: ${code}: ${message}`);
    } catch (error) {
      // biome-ignore lint/suspicious/noConsole: an error of the product's callback must not stop the client
      console.error(error);
    }
  };
