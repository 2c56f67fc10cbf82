/** How long items wait for others before they are sent, in milliseconds. */
export const GATHER_MS = 1_000;
/** The server's default of MAX_BATCH_ITEMS. */
export const MAX_ITEMS = 1_000;
/** Once a batch was too large, later ones have half of its items, but at least this many. */
export const MIN_ITEMS = 50;
/** How long the server surely keeps a key, in milliseconds: 24 hours, less one for slow requests. */
export const KEY_MS = 23 * 3_600_000;
/** How often a page looks for batches of pages that have ended, in milliseconds. */
export const TAKE_OVER_MS = 60_000;
/** How long the token function may take, in milliseconds. */
export const TOKEN_MS = 30_000;
/** Items in flight with `keepalive`. Browsers allow 65,536 bytes of bodies, with what is around items and from others. */
export const MAX_KEEPALIVE_BYTES = 64_000;
