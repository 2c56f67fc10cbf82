import fs from 'node:fs';

/*
 * Preloaded into the server by the control experiment of the power cuts. Disables the fsync that each response waits for,
 * which leaves SQLite's `synchronous = NORMAL`. rawlog itself has no such setting.
 */
fs.fdatasyncSync = () => {};
fs.fdatasync = Object.assign((_handle: number, done: (error: null) => void) => done(null), {
  __promisify__: () => Promise.resolve(),
}) as typeof fs.fdatasync;
