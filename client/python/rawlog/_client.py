"""The client for threads."""

from __future__ import annotations

import atexit
import os
import ssl
import threading
import time
import weakref
from typing import Any, List, Mapping, Optional, Union

from ._delivery import Token
from ._file_queue import FileQueue
from ._items import CLOSED, INVALID, Item, Rejection, Timestamp, encode, event_item, metric_item
from ._queue import Limits
from ._returns import OnRejected, log
from ._sender import Sender
from ._transport import Transport

#: How long a client waits at the end of its process, in seconds.
_EXIT_SECONDS = 2.0
_clients: "weakref.WeakSet[Client]" = weakref.WeakSet()


class Client:
    """Records metrics and events without waiting for the network: a thread sends them in batches.

    `metric` and `track` never raise and never block for long. Everything recorded is stored exactly once, or handed to
    `on_rejected` with the reason.

    :param url: the server's URL, such as ``https://log.example.com``
    :param token: a token, or a function that returns one; it is called again once the server rejects its last token
    :param on_rejected: called with a list of items and a `Rejection`, in the client's thread
    :param queue_path: a file for items that are not stored yet; they survive the process, even if it is killed
    :param flush_interval: seconds from an item to its request, unless a batch is full before
    :param batch_items: most items per request
    :param batch_bytes: most bytes of JSON per request
    :param max_items: most items in the queue; beyond it, the oldest are evicted
    :param max_bytes: most bytes of JSON in the queue
    :param timeout: seconds that a request may take
    :param ssl_context: for servers whose certificate the system does not trust
    :raises ValueError: if an argument is not valid
    """

    def __init__(
        self,
        url: str,
        token: Token,
        on_rejected: Optional[OnRejected] = None,
        queue_path: Optional[Union[str, "os.PathLike[str]"]] = None,
        *,
        flush_interval: float = 1.0,
        batch_items: int = 500,
        batch_bytes: int = 512 * 1024,
        max_items: int = 100_000,
        max_bytes: int = 64 * 1024 * 1024,
        timeout: float = 30.0,
        ssl_context: Optional[ssl.SSLContext] = None,
    ) -> None:
        if not callable(token) and not (isinstance(token, str) and token.isascii() and token.isprintable()):
            raise ValueError("token is neither a string of ASCII characters nor a function")
        if min(flush_interval, timeout) <= 0 or min(batch_items, batch_bytes, max_items, max_bytes) < 1:
            raise ValueError("an interval, a timeout or a size is not positive")
        Transport(url, timeout, ssl_context)  # checks the URL
        size = Limits(max_items, max_bytes)
        file = None if queue_path is None else FileQueue(os.fspath(queue_path), size)

        def make_sender() -> Sender:
            transport = Transport(url, timeout, ssl_context)
            return Sender(transport, token, on_rejected, file, size, Limits(batch_items, batch_bytes), flush_interval)

        self._file = file
        self._make_sender = make_sender
        self._sender = make_sender()
        self._is_closed = False
        _clients.add(self)
        if file is not None:
            self._sender.send_soon()

    def metric(
        self,
        name: str,
        value: float,
        label: Optional[str] = None,
        *,
        timestamp: Optional[Timestamp] = None,
        user_id: Optional[str] = None,
    ) -> None:
        """Records a measured value.

        :param label: what was measured, such as a page
        :param timestamp: when it was measured; default: now
        :param user_id: records for this user; only for tokens of admins
        """
        self._record(metric_item(name, value, label, timestamp, user_id))

    def track(
        self,
        type: str,
        data: Optional[Mapping[str, Any]] = None,
        index: Optional[str] = None,
        *,
        timestamp: Optional[Timestamp] = None,
        user_id: Optional[str] = None,
    ) -> None:
        """Records an event.

        :param data: anything that JSON can represent
        :param index: what to count by, such as a step
        :param timestamp: when it happened; default: now
        :param user_id: records for this user; only for tokens of admins
        """
        self._record(event_item(type, data, index, timestamp, user_id))

    def flush(self, timeout: Optional[float] = None) -> bool:
        """Sends everything recorded so far. Returns True once all of it is stored or handed back.

        With `queue_path`, this includes the items of other processes in the file.

        :param timeout: seconds to wait at most; then returns False
        """
        if self._sender.is_current_thread:
            return False  # on_rejected would wait for itself
        done = threading.Event()
        results: List[bool] = []

        def settle(is_flushed: bool) -> None:
            results.append(is_flushed)
            done.set()

        self._sender.when_flushed(settle)
        return done.wait(timeout) and results[0]

    def close(self, timeout: Optional[float] = 5.0) -> None:
        """Sends what is left, and stops. Items that are not stored by then stay in the file at `queue_path`; without
        one, they are handed back.

        :param timeout: seconds to wait at most
        """
        if self._is_closed:
            return
        self._is_closed = True
        if self._sender.has_started:
            self.flush(timeout)
        self._sender.stop()

    def __enter__(self) -> "Client":
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _record(self, item: Item) -> None:
        try:
            if self._is_closed:
                self._sender.call_on_rejected([item], CLOSED)
                return
            try:
                is_metric, body = encode(item)
            except Exception as error:
                message = str(error) if isinstance(error, ValueError) else "The item cannot be encoded as JSON."
                self._sender.reject([item], Rejection(0, INVALID, message))
                return
            self._sender.append(item, is_metric, body)
        except Exception as error:  # such as a MemoryError: recording must never fail the caller
            log.error("an item was lost: %s", type(error).__name__)


@atexit.register
def _close_all() -> None:
    """Closes all clients at the end of the process, within a bounded time."""
    deadline = time.monotonic() + _EXIT_SECONDS
    for client in list(_clients):
        if client._sender.has_started:
            client.close(max(deadline - time.monotonic(), 0.0))


#: Clients whose locks a fork holds.
_forking: List[Client] = []


def _before_fork() -> None:
    for client in list(_clients):
        client._sender.changed.acquire()
        if client._file is not None:
            client._file.before_fork()
        _forking.append(client)


def _after_fork_in_parent() -> None:
    while _forking:
        client = _forking.pop()
        if client._file is not None:
            client._file.after_fork()
        client._sender.changed.release()


def _after_fork_in_child() -> None:
    """Gives the child its own thread, connection and memory. The parent sends what is in its memory."""
    while _forking:
        client = _forking.pop()
        if client._file is not None:
            client._file.after_fork_in_child()
        client._sender.leave()
        client._sender = client._make_sender()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(
        before=_before_fork, after_in_parent=_after_fork_in_parent, after_in_child=_after_fork_in_child
    )
