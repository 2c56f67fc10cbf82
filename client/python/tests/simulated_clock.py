"""A clock that a test sets, for the client and the test itself."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rawlog import Client

_time, _monotonic = time.time, time.monotonic


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
        """Lets time pass. The client does what is due by then, in its thread."""
        changed = client._sender.changed
        with changed:
            self._advanced += seconds
            changed.notify_all()
