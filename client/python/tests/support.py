"""What the tests share: tokens, the rows of the real server, and a proxy that misbehaves."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import os
import socket
import sqlite3
import struct
import sys
import threading
import time
import unittest
import uuid
from collections import deque
from pathlib import Path
from typing import Any, Callable, Deque, Dict, List, Optional, Tuple
from urllib.parse import urlsplit

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))

from rawlog import AsyncClient, Client, Item, Rejection  # noqa: E402, F401

#: The server under test, without rate limits; tests/slow/python-client.test.ts starts it.
URL = os.environ["RAWLOG_URL"]
DATABASE = os.environ["RAWLOG_DATABASE"]
SECRET = os.environ["RAWLOG_SECRET"]

#: How long a test waits for anything, in seconds.
PATIENCE = 60.0


def sign(seconds: float = 3600, **claims: object) -> str:
    """Returns a token that expires in this many seconds."""

    def part(value: bytes) -> bytes:
        return base64.urlsafe_b64encode(value).rstrip(b"=")

    payload = {"sub": "python-user", "aud": "authenticated", "role": "authenticated", "exp": int(time.time() + seconds)}
    signed = part(b'{"alg":"HS256","typ":"JWT"}') + b"." + part(json.dumps({**payload, **claims}).encode())
    return (signed + b"." + part(hmac.new(SECRET.encode(), signed, hashlib.sha256).digest())).decode()


def stored(type: str, database: str = DATABASE) -> List[str]:
    """Returns the labels of the stored events of a type, in order of their timestamps."""
    connection = sqlite3.connect(f"file:{database}?mode=ro", uri=True)
    try:
        query = "SELECT data_index FROM event_records WHERE type = ? ORDER BY happened_at, seq"
        return [label for (label,) in connection.execute(query, (type,))]
    finally:
        connection.close()


def eventually(is_true: Callable[[], object]) -> None:
    """Waits until a condition holds."""
    deadline = time.monotonic() + PATIENCE
    while not is_true():
        if time.monotonic() > deadline:
            raise AssertionError("it never happened")
        time.sleep(0.01)


class HandedBack:
    """Collects what a client hands back."""

    def __init__(self) -> None:
        self.calls: List[Tuple[List[Item], Rejection]] = []

    def __call__(self, items: List[Item], reason: Rejection) -> None:
        self.calls.append((list(items), reason))

    def labels(self) -> List[str]:
        return [item.get("data_index", "") for items, _ in self.calls for item in items]

    def reasons(self) -> List[Tuple[int, str]]:
        return [(reason.status, reason.code) for items, reason in self.calls for _ in items]


class Request:
    """A request as the proxy received it."""

    def __init__(self, head: bytes, body: bytes) -> None:
        lines = head.decode("latin-1").split("\r\n")
        self.at = time.monotonic()
        self.headers: Dict[str, str] = {
            name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines[1:] if line)
        }
        self.bytes = head + body


class Proxy:
    """Passes requests to the server, one behavior of the plan per request, then unchanged.

    Behaviors: ``pass``; ``reset`` before the server gets the request; ``stall``: no response; ``drop``, ``cut`` and
    ``late``: the server stores the request, and the response is lost, cut off or too late; ``close``: the connection
    closes after the response, without notice; or bytes: this response instead.
    """

    def __init__(self, url: str = URL) -> None:
        parts = urlsplit(url)
        self._upstream = (parts.hostname or "", parts.port or 80)
        self.plan: Deque[Any] = deque()
        self.requests: List[Request] = []
        #: Statuses of the server's responses, whatever became of them.
        self.statuses: List[int] = []
        self.connections = 0
        self._ended = threading.Event()
        self._listener: Optional[socket.socket] = None
        # bound for as long as the proxy exists, so that no other process gets the port while connections are refused
        self._holder = self._bind(0)
        self._port = int(self._holder.getsockname()[1])
        self.up()

    @property
    def responses(self) -> int:
        return len(self.statuses)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._port}"

    def up(self) -> None:
        """Accepts connections."""
        listener = self._bind(self._port)
        listener.listen()
        self._listener = listener
        threading.Thread(target=self._accept, args=(listener,), daemon=True).start()

    def down(self) -> None:
        """Refuses connections."""
        if self._listener is not None:
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes accept
            self._listener.close()
            self._listener = None

    def close(self) -> None:
        self.down()
        self._holder.close()
        self._ended.set()

    @staticmethod
    def _bind(port: int) -> socket.socket:
        bound = socket.socket()
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        bound.bind(("127.0.0.1", port))
        return bound

    def _accept(self, listener: socket.socket) -> None:
        while True:
            try:
                client, _ = listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(client,), daemon=True).start()

    def _serve(self, client: socket.socket) -> None:
        with client:
            try:
                while self._exchange(client):
                    pass
            except OSError:
                pass  # the client is gone

    def _exchange(self, client: socket.socket) -> bool:
        request = _read_message(client)
        if request is None:
            return False
        self.requests.append(Request(*request))
        behavior = self.plan.popleft() if self.plan else "pass"
        if behavior == "reset":
            return _reset(client)
        if behavior == "stall":
            self._ended.wait(PATIENCE)
            return False
        if isinstance(behavior, bytes):
            client.sendall(behavior)
            return True
        with socket.create_connection(self._upstream) as server:
            server.sendall(b"".join(request))
            response = b"".join(_read_message(server) or (b"", b""))
        self.statuses.append(int(response.split(b" ", 2)[1]))
        if behavior == "drop":
            return _reset(client)
        if behavior == "cut":
            client.sendall(response[: len(response) - 10])
            return False
        if behavior == "late":
            self._ended.wait(2.0)  # longer than the timeout of the clients that meet it
        client.sendall(response)
        return bool(behavior == "pass")


def _reset(client: socket.socket) -> bool:
    client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    return False


def _read_message(connection: socket.socket) -> Optional[Tuple[bytes, bytes]]:
    """Reads a request or a response. Returns its head and its body."""
    data = b""
    while b"\r\n\r\n" not in data:
        more = connection.recv(65536)
        if not more:
            return None
        data += more
    head, _, body = data.partition(b"\r\n\r\n")
    length = 0
    for line in head.lower().split(b"\r\n"):
        if line.startswith(b"content-length:"):
            length = int(line.partition(b":")[2])
    while len(body) < length:
        more = connection.recv(65536)
        if not more:
            return None
        body += more
    return head + b"\r\n\r\n", body


def response(status: str, body: bytes = b"", **headers: str) -> bytes:
    """Returns a response for `Proxy.plan`."""
    fields = "".join(f"{name.replace('_', '-')}: {value}\r\n" for name, value in headers.items())
    return f"HTTP/1.1 {status}\r\n{fields}Content-Length: {len(body)}\r\n\r\n".encode() + body


def error(status: str, code: str, **headers: str) -> bytes:
    """Returns an error response in the format of rawlog."""
    body = {"code": code, "message": code, "hint": code, "request_id": "1", "detail": code}
    return response(status, json.dumps(body).encode(), Content_Type="application/json", **headers)


class ClientTest(unittest.TestCase):
    """A test with a proxy, and a client that collects what is handed back."""

    def setUp(self) -> None:
        self.proxy = Proxy()
        self.addCleanup(self.proxy.close)
        self.back = HandedBack()
        self.type = f"{self.id()}-{uuid.uuid4()}"

    def client(self, token: Any = None, **options: Any) -> Client:
        settings: Dict[str, Any] = {"flush_interval": 0.05, "timeout": PATIENCE, "on_rejected": self.back}
        client = Client(self.proxy.url, token or sign(), **{**settings, **options})
        self.addCleanup(client.close, 0)
        return client

    def assert_stored_once(self, expected: List[str]) -> None:
        """Checks that exactly these events are stored, once each and in this order of time."""
        self.assertEqual(stored(self.type), expected)


def labels(count: int, prefix: str = "") -> List[str]:
    return [f"{prefix}{number:05d}" for number in range(count)]
