"""A day without a server, on a simulated clock: each event is stored exactly once, in time order, or handed back."""

from __future__ import annotations

import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from simulated_clock import SimulatedClock
from support import PATIENCE, ROOT, ClientTest, Request, error, eventually, labels, sign

HOUR = 3600.0
DAY = 24 * HOUR
#: How long the client waits between two attempts at most, in seconds.
LONGEST_DELAY = 60.0

#: Records events while time passes, and then waits for its end:
#: python -c … URL TOKEN QUEUE TYPE FROM COUNT AGO SECONDS_BETWEEN
RECORD = """
import sys
from rawlog import Client
from simulated_clock import SimulatedClock
url, token, queue, type, start, count, ago, step = sys.argv[1:]
with SimulatedClock(float(ago)) as clock:
    client = Client(url, token, print, queue, flush_interval=0.05, batch_items=7)
    for number in range(int(start), int(start) + int(count)):
        client.track(type, {}, f"{number:05d}")
        clock.advance(client, float(step))
    print("recorded", flush=True)
    sys.stdin.read()
"""


def payload(request: Request) -> "tuple[str, bytes]":
    """Returns the key and the body of a request."""
    return request.headers["idempotency-key"], request.bytes.partition(b"\r\n\r\n")[2]


class OfflineTest(ClientTest):
    def test_an_outage_of_a_day_delays_events_and_loses_none(self) -> None:
        refusal = error("503 Service Unavailable", "shutting_down")
        token = sign()
        with SimulatedClock(DAY) as clock:
            client = self.client(token, flush_interval=1.0)
            # for 4 hours, the server responds with errors; the client backs off, and never gives up
            for minute, label in enumerate(labels(240)):
                client.track(self.type, None, label)
                self.proxy.plan.append(refusal)
                clock.advance(client, LONGEST_DELAY)
                self.assertEqual(len(self.proxy.requests), minute + 1)
            self.assertEqual(len({request.headers["idempotency-key"] for request in self.proxy.requests}), 1)
            # for 20 hours, nothing listens
            self.proxy.down()
            for label in labels(360)[240:]:
                client.track(self.type, None, label)
                clock.advance(client, HOUR / 6)
            self.assertFalse(client.flush(0))
            self.proxy.up()
            clock.advance(client, LONGEST_DELAY)
            self.assertTrue(client.flush(PATIENCE))
        self.assert_stored_once(labels(360))
        self.assertEqual(self.back.calls, [])

    def test_processes_that_are_killed_and_restarted_during_a_day_lose_nothing(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            queue = str(Path(folder, "queue"))
            self.lose_first_response(queue, ago=20 * HOUR)
            for i in range(1, 6):
                process = self.start(queue, 100 * i, 100, ago=(20 - 3 * i) * HOUR, step=100.0)
                self.end(process, signal.SIGKILL if i % 2 else signal.SIGTERM)
            seen = len(self.proxy.requests)
            self.proxy.up()
            client = self.client(queue_path=queue)
            self.assertTrue(client.flush(PATIENCE))
            client.close()
        self.assertEqual(payload(self.proxy.requests[seen]), payload(self.proxy.requests[0]))
        self.assert_stored_once(["00000", *labels(600)[100:]])
        self.assertEqual(self.back.calls, [])

    def test_a_batch_whose_response_was_lost_a_day_ago_is_handed_back(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            queue = str(Path(folder, "queue"))
            self.lose_first_response(queue, ago=DAY)
            self.end(self.start(queue, 1, 50, ago=12 * HOUR, step=HOUR / 10), signal.SIGKILL)
            self.proxy.up()
            client = self.client(queue_path=queue)
            self.assertTrue(client.flush(PATIENCE))
            client.close()
        self.assert_stored_once(labels(51))
        # the server may have forgotten its key
        self.assertEqual(self.back.labels(), ["00000"])
        self.assertEqual(self.back.reasons(), [(0, "outcome_unknown")])

    def lose_first_response(self, queue: str, ago: float) -> None:
        """Records an event in a process that is killed before it learns that the event is stored."""
        self.proxy.plan += ["drop", *["stall"] * 100]
        process = self.start(queue, 0, 1, ago, step=HOUR)
        eventually(lambda: self.proxy.responses == 1)
        process.kill()
        process.wait()
        self.proxy.down()
        self.proxy.plan.clear()

    def start(self, queue: str, start: int, count: int, ago: float, step: float) -> "subprocess.Popen[bytes]":
        arguments = [self.proxy.url, sign(), queue, self.type, *map(str, (start, count, ago, step))]
        process = subprocess.Popen(
            [sys.executable, "-c", RECORD, *arguments],
            env={"PYTHONPATH": f"{ROOT}:{ROOT / 'tests'}", "PYTHONDONTWRITEBYTECODE": "1"},
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        for stream in (process.stdin, process.stdout):
            assert stream is not None
            self.addCleanup(stream.close)
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        return process

    def end(self, process: "subprocess.Popen[bytes]", by: signal.Signals) -> None:
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), b"recorded\n")
        process.send_signal(by)
        process.wait()
