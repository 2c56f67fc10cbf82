"""The thread that sends what is in the queues."""

from __future__ import annotations

import sqlite3
import threading
import time
from typing import Callable, List, Optional, Sequence, Tuple

from ._delivery import Delivery, Token
from ._file_queue import FileQueue
from ._items import CLOSED, OUTCOME_UNKNOWN, QUEUE_FULL, Entry, Item, Rejection
from ._queue import Limits, MemoryQueue, Queue
from ._returns import OnRejected, Returns, log
from ._transport import Transport

#: How long `close` waits for a request that it aborted, in seconds.
_ABORT_SECONDS = 1.0
#: How often a client looks whether another process still sends what is in their file, in seconds.
_POLL_SECONDS = 0.1
#: How often the file is checkpointed, in items.
_CHECKPOINT_ITEMS = 512


class _Waiter:
    """A flush that waits for the items in queues up to a `seq`."""

    def __init__(self, marks: List[Tuple[Queue, int]], done: Callable[[bool], None]) -> None:
        self.marks = marks
        self.done = done


class Sender:
    """Queues items, sends them in a thread, and hands back those that will never be sent.

    The thread starts with the first item. A forked process needs a sender of its own.

    :param size: the size of the queue
    :param batch: the size of a batch
    :param interval: seconds from an item to its request, unless a batch is full before
    """

    def __init__(
        self,
        transport: Transport,
        token: Token,
        on_rejected: Optional[OnRejected],
        file: Optional[FileQueue],
        size: Limits,
        batch: Limits,
        interval: float,
    ) -> None:
        self._interval = interval
        self._batch = batch
        self._file = file
        self._memory = MemoryQueue(size)
        self._delivery = Delivery(transport, token, batch, self._hand_back)
        #: Guards everything below, and is held while the process forks.
        self.changed = threading.Condition(threading.Lock())
        self._returns = Returns(self.changed, on_rejected, self._look_at_waiters)
        self._thread: Optional[threading.Thread] = None
        #: When the next batch is due, on the monotonic clock; None if the queue is empty.
        self._due: Optional[float] = None
        #: Items and bytes recorded since everything was last sent.
        self._new_items = 0
        self._new_bytes = 0
        #: Items recorded since the last checkpoint.
        self._unchecked = 0
        #: Whether everything should be sent now.
        self._requested = False
        self._waiters: List[_Waiter] = []
        #: Whether `close` no longer waits for items to be sent.
        self._is_stopping = False
        self._is_finished = False
        self._finishing = threading.Lock()

    @property
    def has_started(self) -> bool:
        """Whether there is a thread."""
        return self._thread is not None

    @property
    def is_current_thread(self) -> bool:
        """Whether the caller is this thread, as in `on_rejected`."""
        return threading.current_thread() is self._thread

    def send_soon(self) -> None:
        """Sends what an earlier process left in the file."""
        with self.changed:
            self._requested = True
            self._wake()

    def stop(self) -> None:
        """Stops the thread, and aborts its request. It hands back what is in memory."""
        with self.changed:
            self._is_stopping = True
            self.changed.notify_all()
            thread = self._thread
        if thread is None or self.is_current_thread:
            return
        thread.join(_POLL_SECONDS)
        if thread.is_alive():
            self._delivery.close()
            thread.join(_ABORT_SECONDS)

    def leave(self) -> None:
        """Leaves the connection to the parent process, in a forked one."""
        self._delivery.leave()

    def append(self, item: Item, is_metric: bool, body: bytes) -> None:
        """Queues an item, which `body` encodes; in memory if the file fails."""
        try:
            added = (self._file or self._memory).append(is_metric, body)
        except (sqlite3.Error, OSError) as error:
            log.warning("the queue file failed, an item is queued in memory: %s", type(error).__name__)
            added = self._memory.append(is_metric, body)
        if added.evicted:
            self.reject([entry.item() for entry in added.evicted], QUEUE_FULL)
        if not added.is_queued:
            self.reject([item], QUEUE_FULL)
            return
        with self.changed:
            was_full = self._is_full()
            self._new_items += 1
            self._new_bytes += len(body)
            self._unchecked += 1
            is_new = self._due is None
            if is_new:
                self._due = time.monotonic() + self._interval
            if is_new or self._is_full() != was_full or self._unchecked == _CHECKPOINT_ITEMS:
                self._wake()
            is_finished = self._is_finished
        if is_finished:  # closed by another thread meanwhile
            self._empty_memory()

    def _is_full(self) -> bool:
        return self._new_items >= self._batch.items or self._new_bytes >= self._batch.bytes

    def reject(self, items: List[Item], reason: Rejection) -> None:
        """Hands items back in the thread."""
        with self.changed:
            has_room = self._returns.add(items, reason)
            self._wake()
        if not has_room:
            self._returns.hand_back()

    def when_flushed(self, done: Callable[[bool], None]) -> None:
        """Calls a function, in any thread, with True once everything recorded so far is stored or handed back, and with
        False if the client is closed before.
        """
        marks: List[Tuple[Queue, int]] = []
        for queue in self._queues():
            try:
                marks.append((queue, queue.last_seq()))
            except (sqlite3.Error, OSError) as error:
                log.warning("the queue file failed: %s", type(error).__name__)
        with self.changed:
            is_finished = self._is_finished
            if not is_finished:
                self._waiters.append(_Waiter(marks, done))
                self._requested = True
                self._wake()
        if is_finished:
            done(False)

    def _queues(self) -> List[Queue]:
        return [self._memory] if self._file is None else [self._file, self._memory]

    def _wake(self) -> None:
        """Wakes the thread, and starts it if there is none; `changed` is held."""
        if self._thread is None:
            thread = threading.Thread(target=self._run, name="rawlog", daemon=True)
            try:
                thread.start()
            except RuntimeError:
                return  # the interpreter is exiting; items in memory are lost with it
            self._thread = thread
        self.changed.notify_all()

    def _run(self) -> None:
        while True:
            with self.changed:
                while not (self._is_stopping or self._returns.is_waiting or self._must_checkpoint() or self._must_send()):
                    self.changed.wait(self._idle_seconds())
                is_stopping = self._is_stopping
                must_send = self._must_send()
            try:
                self._returns.hand_back()
                if must_send and not is_stopping:
                    self._send()
                self._checkpoint()
                self._settle()
            except Exception as error:
                log.error("sending failed, and is tried again: %s", type(error).__name__)
                self._delivery.pause(self._interval)
            if is_stopping:
                self._finish()
                return

    def _must_checkpoint(self) -> bool:
        return self._file is not None and self._unchecked >= _CHECKPOINT_ITEMS

    def _must_send(self) -> bool:
        now = time.monotonic()
        is_due = self._requested or self._is_full() or (self._due is not None and self._due <= now)
        return is_due and self._delivery.retry_at <= now

    def _idle_seconds(self) -> Optional[float]:
        """Returns how long there is nothing to do, unless something changes; None without a limit."""
        now = time.monotonic()
        if self._requested or self._is_full():
            return max(self._delivery.retry_at - now, 0.0)
        if self._due is not None:
            return max(self._due - now, self._delivery.retry_at - now, 0.0)
        return None

    def _send(self) -> None:
        """Sends everything in the queues, until an attempt fails."""
        with self.changed:
            self._requested = False
            self._due = None
            self._new_items = self._new_bytes = 0
        is_empty = True
        for queue in self._queues():
            try:
                is_empty = self._drain(queue) and is_empty
            except (sqlite3.Error, OSError) as error:
                log.warning("the queue file failed: %s", type(error).__name__)
                self._delivery.pause(self._interval)
                is_empty = False
        if not is_empty:
            with self.changed:
                self._requested = True

    def _checkpoint(self) -> None:
        if self._file is None or self._unchecked == 0:
            return
        self._unchecked = 0
        try:
            self._file.checkpoint()
        except (sqlite3.Error, OSError):
            pass  # tried again later; the file grows meanwhile

    def _drain(self, queue: Queue) -> bool:
        """Sends everything in a queue. Returns False if something is left."""
        if not queue.acquire():
            if not queue.has_upto(queue.last_seq()):
                return True
            self._delivery.pause(_POLL_SECONDS)
            return False
        while not self._is_stopping:
            batch = queue.next_batch(self._delivery.limits)
            if batch is None:
                queue.release()
                return True
            if not self._delivery.deliver(queue, batch):
                if self._delivery.is_unauthorized:
                    queue.release()  # another process may have a better token
                return False
            self._returns.hand_back()
            self._settle()
        return False

    def _hand_back(self, entries: Sequence[Entry], reason: Rejection) -> None:
        self.call_on_rejected([entry.item() for entry in entries], reason)

    def call_on_rejected(self, items: List[Item], reason: Rejection) -> None:
        """Hands items back in the caller's thread."""
        self._returns.call(items, reason)

    def _look_at_waiters(self) -> None:
        """Lets the thread call the waiters that waited for items to be handed back; `changed` is held."""
        self._requested = self._requested or bool(self._waiters)
        self.changed.notify_all()

    def _settle(self) -> None:
        """Calls the waiters whose items have left the queues."""
        with self.changed:
            if not self._waiters or self._returns.is_busy:
                return
            waiters, self._waiters = self._waiters, []
        for waiter in waiters:
            try:
                is_done = not any(queue.has_upto(seq) for queue, seq in waiter.marks)
            except (sqlite3.Error, OSError):
                is_done = False
            if is_done:
                waiter.done(True)
            else:
                with self.changed:
                    self._waiters.append(waiter)

    def _finish(self) -> None:
        """Hands back what is left in memory, and closes everything."""
        self._empty_memory()
        with self.changed:
            self._is_finished = True
        self._empty_memory()
        self._settle()
        for waiter in self._waiters:
            waiter.done(False)
        self._delivery.close()
        if self._file is not None:
            self._file.release()
            self._file.close()

    def _empty_memory(self) -> None:
        with self._finishing:
            while True:
                batch = self._memory.next_batch(self._batch)
                if batch is None:
                    break
                self._hand_back(batch.entries, CLOSED if batch.uncertain_at is None else OUTCOME_UNKNOWN)
                self._memory.complete(batch)
        self._returns.hand_back()
