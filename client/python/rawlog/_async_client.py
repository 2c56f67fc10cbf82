"""The client for asyncio."""

from __future__ import annotations

import asyncio
import os
import ssl
from typing import Any, Awaitable, Callable, List, Mapping, Optional, Union

from ._client import Client
from ._items import Item, Rejection, Timestamp
from ._returns import OnRejected

#: A token, or a function, possibly async, that returns a fresh one.
AsyncToken = Union[str, Callable[[], Union[str, Awaitable[str]]]]


class AsyncClient:
    """A `Client` whose methods can be awaited. It must be created while an event loop runs.

    `metric` and `track` return at once and need no `await`. `token` and `on_rejected` are called in the event loop; both
    take the same arguments as those of `Client`, and `token` may be an async function. The other parameters are those
    of `Client`.
    """

    def __init__(
        self,
        url: str,
        token: AsyncToken,
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
        self._loop = asyncio.get_running_loop()

        async def fetch(function: Callable[[], Union[str, Awaitable[str]]]) -> str:
            result = function()
            return result if isinstance(result, str) else await result

        def token_from_loop() -> str:
            assert not isinstance(token, str)
            if self._loop.is_closed():
                raise RuntimeError("the event loop is closed")
            return asyncio.run_coroutine_threadsafe(fetch(token), self._loop).result(timeout)

        def reject_in_loop(items: List[Item], reason: Rejection) -> None:
            assert on_rejected is not None
            try:
                self._loop.call_soon_threadsafe(on_rejected, items, reason)
            except RuntimeError:  # the loop is closed
                on_rejected(items, reason)

        self._client = Client(
            url,
            token if isinstance(token, str) else token_from_loop,
            None if on_rejected is None else reject_in_loop,
            queue_path,
            flush_interval=flush_interval,
            batch_items=batch_items,
            batch_bytes=batch_bytes,
            max_items=max_items,
            max_bytes=max_bytes,
            timeout=timeout,
            ssl_context=ssl_context,
        )

    def metric(
        self,
        name: str,
        value: float,
        label: Optional[str] = None,
        *,
        timestamp: Optional[Timestamp] = None,
        user_id: Optional[str] = None,
    ) -> None:
        """Records a measured value, like `Client.metric`."""
        self._client.metric(name, value, label, timestamp=timestamp, user_id=user_id)

    def track(
        self,
        type: str,
        data: Optional[Mapping[str, Any]] = None,
        index: Optional[str] = None,
        *,
        timestamp: Optional[Timestamp] = None,
        user_id: Optional[str] = None,
    ) -> None:
        """Records an event, like `Client.track`."""
        self._client.track(type, data, index, timestamp=timestamp, user_id=user_id)

    async def flush(self, timeout: Optional[float] = None) -> bool:
        """Sends everything recorded so far, like `Client.flush`."""
        flushed: "asyncio.Future[bool]" = self._loop.create_future()

        def settle(is_flushed: bool) -> None:
            if not flushed.done():
                flushed.set_result(is_flushed)

        def settle_in_loop(is_flushed: bool) -> None:
            try:
                self._loop.call_soon_threadsafe(settle, is_flushed)
            except RuntimeError:
                pass  # the loop was closed, so nothing waits

        self._client._sender.when_flushed(settle_in_loop)
        try:
            return await asyncio.wait_for(flushed, timeout)
        except asyncio.TimeoutError:
            return False

    async def close(self, timeout: Optional[float] = 5.0) -> None:
        """Sends what is left, and stops, like `Client.close`."""
        await self.flush(timeout)
        await self._loop.run_in_executor(None, self._client.close, 0.0)

    async def __aenter__(self) -> "AsyncClient":
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()
