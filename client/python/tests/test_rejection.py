"""What will never be stored is handed back, and never blocks the rest."""

from __future__ import annotations

import decimal
import json
import sqlite3
import tempfile
from datetime import datetime, timedelta, timezone
from typing import Any

from support import PATIENCE, Client, ClientTest, error, eventually, labels, response, sign

UNKNOWN: Any = object()


class RejectionTest(ClientTest):
    def test_values_that_json_cannot_represent_never_raise(self) -> None:
        cycle: dict[str, Any] = {}
        cycle["self"] = cycle
        client = self.client()
        client.metric(self.type, float("nan"))
        client.metric(self.type, float("inf"))
        client.metric(self.type, 10**400)
        client.metric(self.type, UNKNOWN)
        client.metric(self.type, True)
        client.metric(UNKNOWN, 1)
        client.metric("\ud800", 1)
        client.track(self.type, {"value": UNKNOWN})
        client.track(self.type, {"value": float("nan")})
        client.track(self.type, {"value": "\udfff"})
        client.track(self.type, cycle)
        client.track(self.type, UNKNOWN)
        client.track(self.type, None, UNKNOWN)
        client.track(self.type, None, "x", timestamp=UNKNOWN)
        client.track(self.type, None, "x", user_id=UNKNOWN)
        client.metric(self.type, decimal.Decimal("1.5"))  # type: ignore[arg-type]
        client.track(self.type, None, "good")
        self.assertTrue(client.flush(PATIENCE))
        self.assertEqual(self.back.reasons(), [(0, "invalid")] * 15)
        self.assert_stored_once(["good"])

    def test_a_failing_callback_changes_nothing(self) -> None:
        def fail(*_: object) -> None:
            raise RuntimeError

        client = self.client(on_rejected=fail)
        with self.assertLogs("rawlog", "ERROR"):
            client.metric(self.type, float("nan"))
            client.track(self.type, None, "good")
            self.assertTrue(client.flush(PATIENCE))
        self.assert_stored_once(["good"])

    def test_items_that_the_server_rejects_are_handed_back_and_the_rest_is_stored(self) -> None:
        deep: dict[str, Any] = {}
        for _ in range(250):
            deep = {"a": deep}
        client = self.client(batch_items=40)
        soon = datetime.now(timezone.utc) + timedelta(days=2)
        for label in labels(40):
            bad = {"00003": {"timestamp": soon}, "00005": {"timestamp": "yesterday"}, "00030": {"user_id": "other"}}
            data = deep if label == "00017" else None
            client.track("x" * 2000 if label == "00009" else self.type, data, label, **bad.get(label, {}))
        self.assertTrue(client.flush(PATIENCE))
        rejected = ["00003", "00005", "00009", "00017", "00030"]
        self.assertEqual(sorted(self.back.labels()), rejected)
        self.assertEqual(sorted(self.back.reasons()), [(403, "forbidden")] + [(422, "validation_failed")] * 4)
        self.assert_stored_once([label for label in labels(40) if label not in rejected])

    def test_batches_that_are_too_large_are_halved(self) -> None:
        client = self.client(batch_bytes=8 << 20, max_bytes=64 << 20)
        self.proxy.down()
        for label in labels(8):
            client.track(self.type, {"text": "x" * (2_000_000 if label == "00005" else 300_000)}, label)
        self.proxy.up()
        self.assertTrue(client.flush(PATIENCE))
        self.assertEqual(self.back.labels(), ["00005"])
        self.assertEqual(self.back.reasons(), [(413, "payload_too_large")])
        self.assert_stored_once([label for label in labels(8) if label != "00005"])

    def test_batches_with_too_many_items_are_halved(self) -> None:
        client = self.client(batch_items=5000, flush_interval=PATIENCE)
        for label in labels(3000):
            client.track(self.type, None, label)
        self.assertTrue(client.flush(PATIENCE))
        self.assert_stored_once(labels(3000))
        self.assertEqual(self.back.calls, [])

    def test_admins_record_for_many_users(self) -> None:
        client = self.client(sign(role="admin"))
        for label in labels(3):
            client.track(self.type, None, label, user_id=f"python-user-{label}")
        self.assertTrue(client.flush(PATIENCE))
        self.assert_stored_once(labels(3))

    def test_a_viewer_gets_everything_back(self) -> None:
        client = self.client()
        self.proxy.plan.append(error("403 Forbidden", "forbidden"))
        client.track(self.type, None, "a")
        self.assertTrue(client.flush(PATIENCE))
        self.assertEqual(self.back.reasons(), [(403, "forbidden")])
        client.track(self.type, None, "b")
        self.assertTrue(client.flush(PATIENCE))
        self.assert_stored_once(["b"])

    def test_a_key_of_another_payload_is_replaced(self) -> None:
        self.proxy.plan.append(error("422 Unprocessable Content", "idempotency_mismatch"))
        client = self.client()
        client.track(self.type, None, "a")
        self.assertTrue(client.flush(PATIENCE))
        self.assertEqual(len({request.headers["idempotency-key"] for request in self.proxy.requests}), 2)
        self.assert_stored_once(["a"])

    def test_the_oldest_events_are_evicted_unless_they_are_being_sent(self) -> None:
        self.proxy.plan += ["stall"] * 20
        client = self.client(batch_items=5, max_items=20, timeout=1.0, flush_interval=PATIENCE)
        for label in labels(5):
            client.track(self.type, None, label)
        eventually(lambda: self.proxy.requests)
        # five, or fewer if the client was still looking for events of earlier processes
        sent = self.proxy.requests[0].bytes.count(b'"data_index"')
        for label in labels(30)[5:]:
            client.track(self.type, None, label)
        eventually(lambda: len(self.back.labels()) == 10)
        self.assertEqual(self.back.labels(), labels(30)[sent : sent + 10])
        self.assertEqual(set(self.back.reasons()), {(0, "queue_full")})
        self.proxy.plan.clear()
        self.assertTrue(client.flush(PATIENCE))
        self.assert_stored_once(labels(sent) + labels(30)[sent + 10 :])

    def test_a_closed_client_hands_back_what_is_in_memory(self) -> None:
        self.proxy.plan.append("stall")
        client = self.client(batch_items=5, queue_path=None, flush_interval=PATIENCE)
        for label in labels(5):
            client.track(self.type, None, label)
        eventually(lambda: self.proxy.requests)
        for label in labels(8)[5:]:
            client.track(self.type, None, label)
        client.close(0)
        eventually(lambda: len(self.back.labels()) == 8)
        client.track(self.type, None, "too late")
        self.assertEqual(self.back.labels(), labels(8) + ["too late"])
        # nobody knows whether the server stored the first five
        self.assertEqual(self.back.reasons(), [(0, "outcome_unknown")] * 5 + [(0, "closed")] * 4)

    def test_a_batch_is_not_sent_again_once_its_key_may_have_expired(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            path = f"{folder}/queue"
            self.proxy.plan += ["drop"] + ["stall"] * 20
            client = self.client(queue_path=path)
            client.track(self.type, None, "stored")
            eventually(lambda: self.proxy.responses)
            client.close(0)
            database = sqlite3.connect(path)
            with database:
                database.execute("UPDATE batches SET uncertain_at = uncertain_at - 86400")
            database.close()
            self.proxy.plan.clear()
            client = self.client(queue_path=path)
            self.assertTrue(client.flush(PATIENCE))
            client.close()  # before its folder is deleted
        self.assertEqual(self.back.reasons(), [(0, "outcome_unknown")])
        self.assert_stored_once(["stored"])

    def test_an_error_that_never_ends_is_handed_back(self) -> None:
        forbidden = response("403 Forbidden", b"<h1>Blocked</h1>", Retry_After="0")
        self.proxy.plan += [forbidden] * 10
        client = self.client()
        client.track(self.type, None, "blocked")
        self.assertTrue(client.flush(PATIENCE))
        client.track(self.type, None, "next")
        self.assertTrue(client.flush(PATIENCE))
        self.assertEqual(self.back.reasons(), [(403, "unexpected_response")])
        self.assert_stored_once(["next"])

    def test_handed_back_items_can_be_stored_elsewhere(self) -> None:
        client = self.client(sign(role="viewer-without-rights"))
        client.track(self.type, {"a": [1, None]}, "b", timestamp="not a time")
        self.assertTrue(client.flush(PATIENCE))
        ((items, _),) = self.back.calls
        expected = {"type": self.type, "data": {"a": [1, None]}, "data_index": "b", "timestamp": "not a time"}
        self.assertEqual(json.loads(json.dumps(items)), [expected])


class FileRejectionTest(RejectionTest):
    """The same with a queue in a file."""

    def client(self, token: Any = None, **options: Any) -> Client:
        folder = tempfile.TemporaryDirectory()
        client = super().client(token, **{"queue_path": f"{folder.name}/queue", **options})
        self.addCleanup(folder.cleanup)
        self.addCleanup(client.close, 0)  # before the folder is removed
        return client
