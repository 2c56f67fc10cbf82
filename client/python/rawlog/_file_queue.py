"""The queue in a file, which several processes can share."""

from __future__ import annotations

import os
import sqlite3
from contextlib import contextmanager
from threading import RLock
from typing import TYPE_CHECKING, Any, Iterator, List, Optional, Sequence

from ._items import Batch, Entry, new_key
from ._queue import Appended, Limits, fitting

try:
    import fcntl
except ImportError:  # Windows
    fcntl = None  # type: ignore[assignment]

if TYPE_CHECKING:
    from threading import _RLock as RLockType

#: How long a caller waits for another process that writes to the file, in seconds.
_BUSY_SECONDS = 0.25

# `batches` covers ranges of items, oldest first; items after the last range are not frozen.
_SCHEMA = """
CREATE TABLE IF NOT EXISTS items (
  seq INTEGER PRIMARY KEY,
  is_metric INTEGER NOT NULL,
  body BLOB NOT NULL
);
CREATE TABLE IF NOT EXISTS batches (
  number INTEGER PRIMARY KEY,
  key TEXT NOT NULL,
  first_seq INTEGER NOT NULL,
  last_seq INTEGER NOT NULL,
  uncertain_at REAL,
  failures INTEGER NOT NULL DEFAULT 0
);
CREATE TABLE IF NOT EXISTS totals (
  id INTEGER PRIMARY KEY CHECK (id = 1),
  items INTEGER NOT NULL,
  bytes INTEGER NOT NULL,
  last_seq INTEGER NOT NULL
);
INSERT OR IGNORE INTO totals VALUES (1, 0, 0, 0);
"""


class FileQueue:
    """A queue in a SQLite file, which survives the process.

    Only one process sends at a time: the one that holds the lock on the file next to it. The kernel releases the lock of
    a killed process. SQLite connections must not cross a fork, so `close` can be called at any time; the next use opens
    the file again.

    Every method can raise `sqlite3.Error` or `OSError`.
    """

    def __init__(self, path: str, limits: Limits) -> None:
        if fcntl is None:
            raise NotImplementedError("queue_path requires a POSIX system")
        self._path = os.path.abspath(path)
        self._limits = limits
        # callers never wait for a checkpoint, which waits for the disk, because it uses the other connection
        self._appending = _Connection(self._path)
        self._sending = _Connection(self._path, self._appending.lock)
        self._lock_file: Optional[int] = None

    def append(self, is_metric: bool, body: bytes) -> Appended:
        if len(body) > self._limits.bytes:
            return Appended(False, [])
        with self._appending.transaction() as database:
            items, size, seq = database.execute("SELECT items, bytes, last_seq FROM totals").fetchone()
            evicted: List[Entry] = []
            if items + 1 > self._limits.items or size + len(body) > self._limits.bytes:
                evicted = self._evict(database, items + 1, size + len(body))
                items -= len(evicted)
                size -= sum(len(entry.body) for entry in evicted)
            is_queued = items + 1 <= self._limits.items and size + len(body) <= self._limits.bytes
            if is_queued:
                items, size, seq = items + 1, size + len(body), seq + 1
                database.execute("INSERT INTO items VALUES (?, ?, ?)", (seq, is_metric, body))
            database.execute("UPDATE totals SET items = ?, bytes = ?, last_seq = ?", (items, size, seq))
        return Appended(is_queued, evicted)

    def _evict(self, database: sqlite3.Connection, items: int, size: int) -> List[Entry]:
        """Removes the oldest items that are not frozen, until the rest has room."""
        evicted: List[Entry] = []
        for entry in _entries(database, "WHERE seq > (SELECT ifnull(max(last_seq), 0) FROM batches) ORDER BY seq"):
            if items <= self._limits.items and size <= self._limits.bytes:
                break
            evicted.append(entry)
            items, size = items - 1, size - len(entry.body)
        if evicted:
            database.execute("DELETE FROM items WHERE seq BETWEEN ? AND ?", (evicted[0].seq, evicted[-1].seq))
        return evicted

    def last_seq(self) -> int:
        with self._appending.use() as database:
            return int(database.execute("SELECT last_seq FROM totals").fetchone()[0])

    def has_upto(self, seq: int) -> bool:
        with self._appending.use() as database:
            return bool(database.execute("SELECT EXISTS (SELECT 1 FROM items WHERE seq <= ?)", (seq,)).fetchone()[0])

    def acquire(self) -> bool:
        if self._lock_file is None:
            file = os.open(f"{self._path}-sender", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
            try:
                fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                os.close(file)
                return False
            except BaseException:
                os.close(file)
                raise
            self._lock_file = file
        return True

    def release(self) -> None:
        if self._lock_file is not None:
            os.close(self._lock_file)
            self._lock_file = None

    def next_batch(self, limits: Limits) -> Optional[Batch]:
        with self._sending.use() as database:
            batch = self._oldest_batch(database)
            if batch is not None:
                return batch
        with self._sending_transaction() as database:
            oldest = list(_entries(database, "ORDER BY seq LIMIT ?", limits.items))
            if oldest:
                _freeze(database, oldest[: fitting([len(entry.body) for entry in oldest], limits)])
        with self._sending.use() as database:
            return self._oldest_batch(database)

    def _oldest_batch(self, database: sqlite3.Connection) -> Optional[Batch]:
        row = database.execute(
            "SELECT number, key, first_seq, last_seq, uncertain_at, failures FROM batches ORDER BY number LIMIT 1"
        ).fetchone()
        if row is None:
            return None
        number, key, first, last, uncertain_at, failures = row
        entries = list(_entries(database, "WHERE seq BETWEEN ? AND ? ORDER BY seq", first, last))
        return Batch(number, key, entries, uncertain_at, failures)

    def update(self, batch: Batch) -> None:
        with self._sending_transaction() as database:
            database.execute(
                "UPDATE batches SET uncertain_at = ?, failures = ? WHERE number = ?",
                (batch.uncertain_at, batch.failures, batch.number),
            )

    def complete(self, batch: Batch) -> None:
        self.replace(batch, [])

    def replace(self, batch: Batch, parts: Sequence[Sequence[Entry]]) -> None:
        kept = {entry.seq for part in parts for entry in part}
        removed = [entry for entry in batch.entries if entry.seq not in kept]
        with self._sending_transaction() as database:
            later = database.execute("SELECT number FROM batches WHERE number > ? ORDER BY number", (batch.number,)).fetchall()
            database.execute("DELETE FROM batches WHERE number = ?", (batch.number,))
            for (number,) in reversed(later):
                database.execute("UPDATE batches SET number = ? WHERE number = ?", (number + len(parts), number))
            for i, part in enumerate(parts):
                _freeze(database, part, batch.number + i)
            if kept:
                database.executemany("DELETE FROM items WHERE seq = ?", [(entry.seq,) for entry in removed])
            else:
                first, last = batch.entries[0].seq, batch.entries[-1].seq
                database.execute("DELETE FROM items WHERE seq BETWEEN ? AND ?", (first, last))
            size = sum(len(entry.body) for entry in removed)
            database.execute("UPDATE totals SET items = items - ?, bytes = bytes - ?", (len(removed), size))

    @contextmanager
    def _sending_transaction(self) -> Iterator[sqlite3.Connection]:
        # without the lock, SQLite would let the sender starve while callers append
        with self._sending.use(), self._appending.lock, self._sending.transaction() as database:
            yield database

    def checkpoint(self) -> None:
        with self._sending.use() as database:
            database.execute("PRAGMA wal_checkpoint(PASSIVE)").fetchall()

    def close(self) -> None:
        self._appending.close()
        self._sending.close()

    def before_fork(self) -> None:
        """Waits for running transactions, closes the connections and holds their locks."""
        for connection in (self._sending, self._appending):
            connection.lock.acquire()
            connection.close()

    def after_fork(self) -> None:
        """Releases the locks, in the parent and in the child."""
        for connection in (self._appending, self._sending):
            connection.lock.release()

    def after_fork_in_child(self) -> None:
        """Does the same in the child, whose parent keeps the right to send."""
        self.after_fork()
        self.release()


class _Connection:
    """A connection that is opened when it is used.

    :param opening: held while it is opened, which writes
    """

    def __init__(self, path: str, opening: Optional[RLockType] = None) -> None:
        self._path = path
        self._database: Optional[sqlite3.Connection] = None
        self.lock = RLock()
        self._opening = opening or self.lock

    @contextmanager
    def use(self) -> Iterator[sqlite3.Connection]:
        with self.lock:
            if self._database is None:
                with self._opening:
                    self._database = _open(self._path)
            yield self._database

    @contextmanager
    def transaction(self) -> Iterator[sqlite3.Connection]:
        with self.use() as database:
            database.execute("BEGIN IMMEDIATE")
            try:
                yield database
                database.execute("COMMIT")
            except BaseException:
                if database.in_transaction:
                    database.execute("ROLLBACK")
                raise

    def close(self) -> None:
        with self.lock:
            if self._database is not None:
                self._database.close()
                self._database = None


def _open(path: str) -> sqlite3.Connection:
    if not os.path.exists(path):
        # Items are user data. An existing file must not be opened here: closing it would drop SQLite's locks on it.
        os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    database = sqlite3.connect(path, timeout=_BUSY_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        database.execute("PRAGMA journal_mode = WAL")
        # commits survive a killed process; after a power cut, the newest of them may be missing
        database.execute("PRAGMA synchronous = NORMAL")
        # The sender checkpoints, because it waits for the disk. Callers do only if the sender falls far behind.
        database.execute("PRAGMA wal_autocheckpoint = 8192")
        database.execute("PRAGMA journal_size_limit = 4194304")
        database.executescript(_SCHEMA)
    except BaseException:
        database.close()
        raise
    return database


def _entries(database: sqlite3.Connection, where: str, *values: Any) -> Iterator[Entry]:
    for seq, is_metric, body in database.execute(f"SELECT seq, is_metric, body FROM items {where}", values):
        yield Entry(seq, bool(is_metric), body)


def _freeze(database: sqlite3.Connection, entries: Sequence[Entry], number: Optional[int] = None) -> None:
    database.execute(
        "INSERT INTO batches (number, key, first_seq, last_seq) VALUES (?, ?, ?, ?)",
        (number, new_key(), entries[0].seq, entries[-1].seq),
    )
