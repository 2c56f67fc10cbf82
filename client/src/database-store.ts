import { batchesOf, type Change, randomId, type Store, takeChange } from './batch.ts';

/** A stored change, and the page that owns its batch. */
type OwnedChange = Change & { owner: string };

const STORE = 'changes';
/** How often a page without Web Locks says that it still runs, and for how long that holds, in milliseconds. */
const BEAT_MS = 20_000;
const BEAT_LASTS_MS = 90_000;
/** How long the database may take to open, in milliseconds. In some versions of Safari, it never opens. */
const OPEN_MS = 3_000;

/**
 * Opens an IndexedDB database as storage, which the pages of an origin share. A page owns the batches it created, and
 * those it took over from pages that no longer run. While it runs, it holds a Web Lock; without Web Locks, it stores the
 * time every 20 s.
 *
 * Keys are `[key of the batch, number of the change]`, and before those `['', owner]` with the time.
 *
 * @throws if the database cannot be opened
 */
export async function openDatabaseStore(name: string): Promise<Store> {
  const owner = randomId();
  const database = await openDatabase(name);
  const locks = navigator.locks as LockManager | undefined;
  const lockOf = (id: string) => `${name} ${id}`;
  let unlock: (() => void) | undefined;
  let timer: ReturnType<typeof setInterval> | undefined;
  /** The number of the next change of each batch. */
  const numbers = new Map<string, number>();

  /**
   * Runs a transaction. Resolves once it has committed.
   *
   * @param isAsync whether it makes requests after its first ones; otherwise, it completes even if the page ends now
   */
  const transact = (run: (store: IDBObjectStore) => void, isAsync?: boolean) =>
    new Promise<void>((resolve, reject) => {
      const transaction = database.transaction(STORE, 'readwrite');
      transaction.oncomplete = () => resolve();
      transaction.onabort = reject;
      run(transaction.objectStore(STORE));
      if (!isAsync) transaction.commit?.();
    });
  const put = (store: IDBObjectStore, change: Change) => {
    const number = numbers.get(change.key) ?? 0;
    numbers.set(change.key, number + 1);
    store.put({ ...change, owner } satisfies OwnedChange, [change.key, number]);
  };
  const beat = () => transact((store) => store.put(Date.now(), ['', owner]));

  /** Takes over the batches of pages that do not run: those that hold no lock or, without locks, whose time is old. */
  const takeOver = async (held: ReadonlySet<string | undefined>) => {
    const changes: Change[] = [];
    const running = new Set([owner]);
    await transact((store) => {
      store.openCursor().onsuccess = ({ target }) => {
        const cursor = (target as IDBRequest<IDBCursorWithValue | null>).result;
        if (!cursor) return;
        const [key, number] = cursor.key as [string, number | string];
        const value = cursor.value as OwnedChange | number;
        if (typeof value === 'number') {
          if (Date.now() - value < BEAT_LASTS_MS) running.add(`${number}`);
          else cursor.delete();
        } else if (!(running.has(value.owner) || held.has(lockOf(value.owner)))) {
          cursor.update({ ...value, owner });
          numbers.set(key, Number(number) + 1);
          changes.push(value);
        }
        cursor.continue();
      };
    }, true);
    return batchesOf(changes);
  };

  const hold = async () => {
    if (unlock || timer) return;
    if (locks) {
      await new Promise<void>((resolve, reject) => {
        const untilReleased = () => {
          resolve();
          return new Promise<void>((release) => {
            unlock = release;
          });
        };
        locks.request(lockOf(owner), untilReleased).catch(reject);
      });
    } else {
      timer = setInterval(() => beat().catch(() => {}), BEAT_MS);
      await beat();
    }
  };

  return {
    hold,
    async load() {
      await hold();
      const { held = [] } = (await locks?.query()) ?? {};
      return takeOver(new Set(held.map((lock) => lock.name)));
    },
    async write(batch, isChecked) {
      const change = takeChange(batch);
      const number = numbers.get(change.key) ?? 0;
      let isOurs = true;
      try {
        await transact((store) => {
          if (!isChecked) return put(store, change);
          store.get([change.key, 0]).onsuccess = ({ target }) => {
            const first = (target as IDBRequest<OwnedChange | undefined>).result;
            // a batch that could not be stored cannot have been taken over
            isOurs = first?.owner === owner || !batch.isDurable || number === 0;
            if (isOurs) put(store, change);
          };
        }, isChecked);
      } catch {
        batch.isDurable = false;
      }
      return isOurs;
    },
    replace({ key }, others) {
      numbers.delete(key);
      transact((store) => {
        store.delete(IDBKeyRange.bound([key], [key, []]));
        for (const other of others) put(store, takeChange(other));
      }).catch(() => {
        for (const other of others) other.isDurable = false;
      });
    },
    release() {
      unlock?.();
      unlock = undefined;
      if (timer) transact((store) => store.delete(['', owner])).catch(() => {});
      clearInterval(timer);
      timer = undefined;
    },
  };
}

function openDatabase(name: string): Promise<IDBDatabase> {
  return new Promise((resolve, reject) => {
    const request = indexedDB.open(name, 1);
    request.onupgradeneeded = () => request.result.createObjectStore(STORE);
    request.onsuccess = () => {
      // lets the product delete the database
      request.result.onversionchange = () => request.result.close();
      resolve(request.result);
    };
    request.onerror = request.onblocked = reject;
    setTimeout(reject, OPEN_MS);
  });
}
