"""Sends batches over one connection."""

from __future__ import annotations

import gzip
import io
import json
import socket
import ssl
import time
from email.utils import parsedate_to_datetime
from functools import partial
from http.client import HTTPConnection, HTTPException, HTTPResponse, HTTPSConnection
from typing import Any, Dict, Optional, Union
from urllib.parse import urlsplit

from ._items import Batch

#: Bodies from this size on are compressed.
_GZIP_BYTES = 8192
#: Connections that were idle for longer are not used again, in seconds; the server's default is 75.
_MAX_IDLE_SECONDS = 30.0
#: Longest response that is read. That of 1,000 items has about 40 KB.
_MAX_RESPONSE_BYTES = 1 << 20
#: Longest delay that the server may ask for, in seconds.
_MAX_RETRY_AFTER = 3600.0


class NotSent(Exception):
    """The request did not reach the server, so nothing was stored."""


class NoResponse(Exception):
    """The connection failed after the request was sent. It may have been stored."""


class Response:
    """The response to a batch."""

    def __init__(self, status: int, body: bytes, retry_after: Optional[float]) -> None:
        self.status = status
        #: The delay that the server asks for, in seconds.
        self.retry_after = retry_after
        try:
            parsed = json.loads(body)
        except ValueError:
            parsed = None
        #: The parsed body; empty if it is no JSON object.
        self.body: Dict[str, Any] = parsed if isinstance(parsed, dict) else {}

    @property
    def code(self) -> Optional[str]:
        """The error code. Responses of others, such as proxies, have none."""
        code = self.body.get("code")
        return code if isinstance(code, str) and isinstance(self.body.get("message"), str) else None

    def stores(self, batch: Batch) -> bool:
        """Returns whether the server stored a batch. A proxy's or a captive portal's 200 is no such response."""
        metrics, events = self.body.get("metrics"), self.body.get("analytics")
        if self.status != 200 or not isinstance(metrics, list) or not isinstance(events, list):
            return False
        return len(metrics) + len(events) == len(batch.entries)


class Transport:
    """A connection that is kept open between batches, and opened directly: environment variables such as `HTTP_PROXY`
    have no effect. Redirects are not followed, because they would send the token elsewhere.

    :param timeout: seconds that a request may take in total, after looking up the host name
    """

    def __init__(self, url: str, timeout: float, ssl_context: Optional[ssl.SSLContext]) -> None:
        parts = urlsplit(url)
        if parts.scheme not in ("http", "https") or not parts.hostname:
            raise ValueError("url is not an http or https URL")
        if parts.username is not None or parts.query or parts.fragment:
            raise ValueError("url contains credentials, a query or a fragment")
        self._is_tls = parts.scheme == "https"
        self._host = parts.hostname
        self._port = parts.port
        self._path = f"{parts.path.rstrip('/')}/log_batch"
        self._timeout = timeout
        self._ssl_context = ssl_context
        self._connection: Optional[HTTPConnection] = None
        self._used_at = 0.0
        self._is_closed = False

    def post(self, batch: Batch, token: str) -> Response:
        """Sends a batch once; a second time if a connection that was kept open turns out to be closed.

        :raises NotSent: if nothing was sent
        :raises NoResponse: if there was no response
        """
        headers = {"Authorization": f"Bearer {token}", "Content-Type": "application/json", "Idempotency-Key": batch.key}
        body = batch.body()
        if len(body) >= _GZIP_BYTES:
            body = gzip.compress(body, 3, mtime=0)
            headers["Content-Encoding"] = "gzip"
        deadline = time.monotonic() + self._timeout
        connection = self._connection
        if connection is not None and time.monotonic() - self._used_at < _MAX_IDLE_SECONDS:
            try:
                return self._exchange(connection, body, headers, deadline)
            except NoResponse:
                pass  # the server may have closed it; the key makes it safe to send the batch again
        self._disconnect()
        return self._exchange(self._connect(deadline), body, headers, deadline)

    def _connect(self, deadline: float) -> HTTPConnection:
        if self._is_closed:
            raise NotSent("closed")
        timeout = max(deadline - time.monotonic(), 0.001)
        connection: HTTPConnection
        if self._is_tls:
            context = self._ssl_context or ssl.create_default_context()
            connection = HTTPSConnection(self._host, self._port, timeout=timeout, context=context)
        else:
            connection = HTTPConnection(self._host, self._port, timeout=timeout)
        connection.auto_open = 0
        try:
            connection.connect()
        except (OSError, ValueError) as error:
            raise NotSent(type(error).__name__) from error
        self._connection = connection
        return connection

    def _exchange(
        self, connection: HTTPConnection, body: bytes, headers: Dict[str, str], deadline: float
    ) -> Response:
        sock: socket.socket = connection.sock
        connection.response_class = partial(_TimedResponse, deadline=deadline)  # type: ignore[assignment]
        try:
            sock.settimeout(max(deadline - time.monotonic(), 0.001))
            connection.request("POST", self._path, body, headers)
            response = connection.getresponse()
            content = response.read(_MAX_RESPONSE_BYTES)
            if len(content) == _MAX_RESPONSE_BYTES:
                raise HTTPException("the response is too long")
        except (OSError, HTTPException, ValueError, AttributeError) as error:
            # AttributeError: `close` was called meanwhile
            self._disconnect()
            raise NoResponse(type(error).__name__) from error
        self._used_at = time.monotonic()
        if response.will_close or not response.isclosed():
            self._disconnect()
        return Response(response.status, content, _retry_after(response.getheader("Retry-After")))

    def close(self) -> None:
        """Closes the connection for good. Can be called while another thread sends; its request then fails."""
        self._is_closed = True
        self._disconnect()

    def leave(self) -> None:
        """Closes this process's copy of the connection, which stays open in the parent process."""
        sock: Optional[socket.socket] = self._connection.sock if self._connection else None
        if sock is not None:
            sock.close()

    def _disconnect(self) -> None:
        connection, self._connection = self._connection, None
        if connection is None:
            return
        sock: Optional[socket.socket] = connection.sock
        if sock is not None:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass
        connection.close()


class _TimedResponse(HTTPResponse):
    """A response that must arrive before a deadline, however slowly its bytes come."""

    def __init__(self, sock: socket.socket, *args: Any, deadline: float, **options: Any) -> None:
        super().__init__(sock, *args, **options)
        self.fp = io.BufferedReader(_TimedStream(self.fp, sock, deadline))


class _TimedStream(io.RawIOBase):
    def __init__(self, stream: io.BufferedReader, sock: socket.socket, deadline: float) -> None:
        self._stream = stream
        self._sock = sock
        self._deadline = deadline

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Union[bytearray, memoryview]) -> int:  # type: ignore[override]
        remaining = self._deadline - time.monotonic()
        if remaining <= 0:
            raise TimeoutError
        self._sock.settimeout(remaining)
        data = self._stream.read1(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def close(self) -> None:
        self._stream.close()
        super().close()


def _retry_after(value: Optional[str]) -> Optional[float]:
    """Returns the delay of a Retry-After header (RFC 9110, section 10.2.3), in seconds."""
    if value is None:
        return None
    try:
        delay = float(value) if value.strip().isdigit() else parsedate_to_datetime(value).timestamp() - time.time()
    except (TypeError, ValueError, OverflowError):
        return None
    return min(max(delay, 0.0), _MAX_RETRY_AFTER)
