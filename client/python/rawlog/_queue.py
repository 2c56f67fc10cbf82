"""The interface of a queue, and the queue in memory."""

from __future__ import annotations

from collections import deque
from threading import Lock
from typing import Deque, List, NamedTuple, Optional, Protocol, Sequence

from ._items import Batch, Entry, new_key


class Limits(NamedTuple):
    """The size of a queue. Bytes count the JSON of the items."""

    items: int
    bytes: int


class Appended(NamedTuple):
    """The result of adding an item."""

    #: False if the item itself had no room, because everything in the queue may already be stored.
    is_queued: bool
    #: The oldest items, which gave their room to the new one.
    evicted: List[Entry]


class Queue(Protocol):
    """Items in the order in which they were recorded; the oldest of them can be frozen in batches.

    Frozen items are never evicted, because the server may have stored them.
    """

    def append(self, is_metric: bool, body: bytes) -> Appended:
        """Adds an item. Evicts the oldest items that are not frozen if the queue is full."""

    def last_seq(self) -> int:
        """Returns the `seq` of the newest item ever added."""

    def has_upto(self, seq: int) -> bool:
        """Returns whether the queue still contains an item up to this one."""

    def acquire(self) -> bool:
        """Returns whether this process may send, and keeps others from it until `release`."""

    def release(self) -> None:
        """Lets other processes send."""

    def next_batch(self, limits: Limits) -> Optional[Batch]:
        """Returns the oldest batch; if there is none, freezes the oldest items. Returns None if the queue is empty."""

    def update(self, batch: Batch) -> None:
        """Saves the attributes of a batch."""

    def complete(self, batch: Batch) -> None:
        """Removes a batch and its items."""

    def replace(self, batch: Batch, parts: Sequence[Sequence[Entry]]) -> None:
        """Replaces a batch with new ones, in order, with new keys. Removes the items that are in none of them."""

    def checkpoint(self) -> None:
        """Moves new items to where they take the least space."""

    def close(self) -> None:
        """Closes files."""


def fitting(sizes: Sequence[int], limits: Limits) -> int:
    """Returns how many items from the start fit into a batch: at least one."""
    total = 0
    for count, size in enumerate(sizes):
        total += size + 1
        if count > 0 and (count >= limits.items or total > limits.bytes):
            return count
    return len(sizes)


class MemoryQueue:
    """A queue that lasts as long as its process."""

    def __init__(self, limits: Limits) -> None:
        self._limits = limits
        self._lock = Lock()
        self._batches: Deque[Batch] = deque()
        self._entries: Deque[Entry] = deque()
        self._seq = 0
        self._number = 0
        #: Items and bytes, including those of the batches.
        self._items = 0
        self._bytes = 0

    def append(self, is_metric: bool, body: bytes) -> Appended:
        evicted: List[Entry] = []
        if len(body) > self._limits.bytes:
            return Appended(False, evicted)
        with self._lock:
            self._seq += 1
            while self._items + 1 > self._limits.items or self._bytes + len(body) > self._limits.bytes:
                if not self._entries:
                    return Appended(False, evicted)
                entry = self._entries.popleft()
                self._count(entry, -1)
                evicted.append(entry)
            entry = Entry(self._seq, is_metric, body)
            self._entries.append(entry)
            self._count(entry, 1)
        return Appended(True, evicted)

    def last_seq(self) -> int:
        return self._seq

    def has_upto(self, seq: int) -> bool:
        with self._lock:
            oldest = self._batches[0].entries[0] if self._batches else self._entries[0] if self._entries else None
            return oldest is not None and oldest.seq <= seq

    def acquire(self) -> bool:
        return True

    def release(self) -> None:
        pass

    def next_batch(self, limits: Limits) -> Optional[Batch]:
        with self._lock:
            if not self._batches and self._entries:
                oldest = [self._entries[i] for i in range(min(limits.items, len(self._entries)))]
                count = fitting([len(entry.body) for entry in oldest], limits)
                self._freeze([self._entries.popleft() for _ in range(count)])
            return self._batches[0] if self._batches else None

    def update(self, batch: Batch) -> None:
        pass  # the batch is the queue's own object

    def complete(self, batch: Batch) -> None:
        self.replace(batch, [])

    def replace(self, batch: Batch, parts: Sequence[Sequence[Entry]]) -> None:
        with self._lock:
            self._batches.remove(batch)
            for entry in batch.entries:
                self._count(entry, -1)
            later = list(self._batches)
            self._batches.clear()
            for part in parts:
                self._freeze(list(part))
                for entry in part:
                    self._count(entry, 1)
            self._batches.extend(later)

    def checkpoint(self) -> None:
        pass

    def close(self) -> None:
        pass

    def _freeze(self, entries: List[Entry]) -> None:
        self._number += 1
        self._batches.append(Batch(self._number, new_key(), entries))

    def _count(self, entry: Entry, sign: int) -> None:
        self._items += sign
        self._bytes += sign * len(entry.body)
