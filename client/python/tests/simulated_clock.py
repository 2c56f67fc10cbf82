"""A clock that a test sets, for the client and the test itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rawlog import Client

_time, _monotonic, _sleep = time.time, time.monotonic, time.sleep


class SimulatedClock:
    """Replaces the clocks of this process by ones that run ahead of them, or behind. Waits take as long as without it.

    :param ago: how far the time of day is behind, in seconds
    """

    def __init__(self, ago: float) -> None:
        self._ago = ago
        self._advanced = 0.0

    def __enter__(self) -> "SimulatedClock":
        time.time = lambda: _time() - self._ago + self._advanced
        time.monotonic = lambda: _monotonic() + self._advanced
        return self

    def __exit__(self, *_: object) -> None:
        time.time, time.monotonic = _time, _monotonic

    def advance(self, client: "Client", seconds: float) -> None:
        """Lets time pass, and waits until the client's thread has done what is due by then."""
        _await_idle(client)
        with client._sender.changed:
            self._advanced += seconds
            client._sender.changed.notify_all()
        _await_idle(client)


def _await_idle(client: "Client") -> None:
    """Waits until the client's thread waits for something to happen."""
    while client._sender.has_started and not client._sender.changed._waiters:  # type: ignore[attr-defined]
        _sleep(0.001)
