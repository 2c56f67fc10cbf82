"""Everything is stored exactly once, whatever happens to requests and responses."""

from __future__ import annotations

import gzip
import json
import os
from unittest import mock

from support import PATIENCE, ClientTest, Proxy, error, eventually, labels, response, sign, stored


class DeliveryTest(ClientTest):
    def test_every_event_is_stored_once_through_a_proxy_that_fails(self) -> None:
        faults = ["reset", "drop", "cut", "stall", "late", "close", "drop"]
        client = self.client(batch_items=20, timeout=1.0)
        for label in labels(140):
            client.track(self.type, {"n": 1}, label)
            if label.endswith("9") and faults and int(label) % 20 == 19:
                self.proxy.plan.append(faults.pop())
                self.assertTrue(client.flush(PATIENCE))
        self.assert_stored_once(labels(140))
        self.assertEqual(self.back.calls, [])

    def test_events_wait_for_a_server_that_refuses_connections(self) -> None:
        self.proxy.down()
        client = self.client()
        for label in labels(50):
            client.track(self.type, None, label)
        self.assertFalse(client.flush(0.2))
        self.proxy.up()
        self.assertTrue(client.flush(PATIENCE))
        self.assert_stored_once(labels(50))

    def test_responses_of_others_are_not_taken_for_the_servers(self) -> None:
        page = b"<h1>Sign in to the network</h1>"
        self.proxy.plan += [
            response("200 OK", page),
            response("302 Found", Location="http://127.0.0.1:1/"),
            response("404 Not Found", page),
        ]
        client = self.client()
        client.track(self.type, None, "portal")
        self.assertTrue(client.flush(PATIENCE))
        self.assert_stored_once(["portal"])
        self.assertEqual(len(self.proxy.requests), 4)
        self.assertEqual(len({request.headers["idempotency-key"] for request in self.proxy.requests}), 1)

    def test_retry_after_is_honored(self) -> None:
        self.proxy.plan += [
            error("503 Service Unavailable", "overloaded", Retry_After="1"),
            error("429 Too Many Requests", "rate_limited", Retry_After="1"),
        ]
        client = self.client()
        client.track(self.type, None, "later")
        self.assertTrue(client.flush(PATIENCE))
        first, second, third = [request.at for request in self.proxy.requests]
        self.assertGreaterEqual(second - first, 1)
        self.assertGreaterEqual(third - second, 1)
        self.assert_stored_once(["later"])

    def test_a_user_beyond_the_rate_limit_loses_nothing(self) -> None:
        limited = Proxy(os.environ["RAWLOG_LIMITED_URL"])
        self.addCleanup(limited.close)
        self.proxy = limited
        client = self.client(batch_items=300)
        count = 0
        while 429 not in limited.statuses:
            count += 300
            for label in labels(count)[count - 300 :]:
                client.track(self.type, None, label)
            self.assertTrue(client.flush(PATIENCE))
        self.assertEqual(stored(self.type, os.environ["RAWLOG_LIMITED_DATABASE"]), labels(count))

    def test_an_expired_token_is_replaced_once(self) -> None:
        tokens = [sign(-60), sign()]
        calls = []

        def token() -> str:
            calls.append(1)
            return tokens[min(len(calls), 2) - 1]

        client = self.client(token)
        client.track(self.type, None, "a")
        self.assertTrue(client.flush(PATIENCE))
        client.track(self.type, None, "b")
        self.assertTrue(client.flush(PATIENCE))
        self.assertEqual(len(calls), 2)
        self.assert_stored_once(["a", "b"])

    def test_events_wait_while_there_is_no_valid_token(self) -> None:
        current = [sign(-60)]

        def token() -> str:
            if not current:
                raise OSError("the sign-in service is down")
            return current[0]

        client = self.client(token)
        client.track(self.type, None, "a")
        eventually(lambda: len(self.proxy.requests) >= 2)
        current.clear()
        self.assertFalse(client.flush(0.6))
        current.append(sign())
        self.assertTrue(client.flush(PATIENCE))
        self.assert_stored_once(["a"])
        self.assertEqual(self.back.calls, [])

    def test_large_bodies_are_compressed_and_connections_are_reused(self) -> None:
        with mock.patch.dict(os.environ, {"HTTP_PROXY": "http://127.0.0.1:1", "http_proxy": "http://127.0.0.1:1"}):
            client = self.client()
            for _ in range(5):
                client.track(self.type, {"text": "x" * 20_000}, "large")
                self.assertTrue(client.flush(PATIENCE))
        for request in self.proxy.requests:
            self.assertEqual(request.headers["content-encoding"], "gzip")
            body = json.loads(gzip.decompress(request.bytes.partition(b"\r\n\r\n")[2]))
            self.assertEqual(len(body["analytics"]), 1)
        self.assertEqual(self.proxy.connections, 1)
        self.assert_stored_once(["large"] * 5)

    def test_the_time_is_that_of_the_event(self) -> None:
        self.proxy.down()
        client = self.client()
        client.track(self.type, None, "second")
        client.track(self.type, None, "first", timestamp="2026-01-01T00:00:00+01:00")
        self.proxy.up()
        self.assertTrue(client.flush(PATIENCE))
        self.assert_stored_once(["first", "second"])
