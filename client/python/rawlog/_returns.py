"""Hands items back to the caller that will never be sent."""

from __future__ import annotations

import logging
import threading
from collections import deque
from typing import Callable, Deque, List, Optional, Tuple

from ._items import Item, Rejection

log = logging.getLogger("rawlog")

#: Receives items that will never be sent, and why.
OnRejected = Callable[[List[Item], Rejection], object]

#: How many items wait to be handed back, while a request is running, before callers hand them back themselves.
_MAX_WAITING = 1000


class Returns:
    """Items that are in no queue, on their way to `on_rejected`, which is called by one thread at a time.

    :param changed: guards the items
    :param on_handed_back: called with `changed` held once no item waits
    """

    def __init__(
        self, changed: threading.Condition, on_rejected: Optional[OnRejected], on_handed_back: Callable[[], None]
    ) -> None:
        self._changed = changed
        self._on_rejected = on_rejected
        self._on_handed_back = on_handed_back
        self._waiting: Deque[Tuple[List[Item], Rejection]] = deque()
        #: Number of threads that are handing items back, one after another.
        self._handing_back = 0
        self._calling = threading.RLock()

    @property
    def is_waiting(self) -> bool:
        """Whether items wait for a thread; `changed` is held."""
        return bool(self._waiting)

    @property
    def is_busy(self) -> bool:
        """Whether items wait or are being handed back; `changed` is held."""
        return bool(self._waiting) or self._handing_back > 0

    def add(self, items: List[Item], reason: Rejection) -> bool:
        """Adds items; `changed` is held. Returns False if so many wait that the caller should hand them back."""
        self._waiting.append((items, reason))
        return len(self._waiting) <= _MAX_WAITING

    def hand_back(self) -> None:
        """Hands back the items that wait, in the caller's thread."""
        with self._changed:
            if not self._waiting:
                return
            self._handing_back += 1
        with self._calling:
            while True:
                with self._changed:
                    if not self._waiting:
                        self._handing_back -= 1
                        self._on_handed_back()
                        return
                    items, reason = self._waiting.popleft()
                    # joined, because evictions come one by one
                    while self._waiting and self._waiting[0][1] == reason:
                        items += self._waiting.popleft()[0]
                self.call(items, reason)

    def call(self, items: List[Item], reason: Rejection) -> None:
        """Hands items back in the caller's thread, without waiting for others."""
        if self._on_rejected is None:
            log.warning("%d items were rejected: %s (status %d)", len(items), reason.code, reason.status)
            return
        try:
            with self._calling:
                self._on_rejected(items, reason)
        except Exception as error:
            log.error("on_rejected failed: %s", type(error).__name__)
