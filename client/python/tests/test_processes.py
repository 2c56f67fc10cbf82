"""Processes that are killed, forked or end, and several that share a file."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

from support import PATIENCE, ROOT, URL, ClientTest, eventually, labels, sign, stored

#: Records events from an index on, and flushes: python -c … URL TOKEN QUEUE TYPE FROM COUNT
RECORD = """
import sys
from rawlog import Client
url, token, queue, type, start, count = sys.argv[1:]
client = Client(url, token, print, queue or None, flush_interval=0.02, batch_items=50)
for number in range(int(start), int(start) + int(count)):
    client.track(type, {}, f"{number:05d}")
print("recorded", flush=True)
"""
FLUSH = "assert client.flush()\nclient.close()\n"


class ProcessTest(ClientTest):
    def start(self, script: str, url: str, queue: str, start: int, count: int) -> "subprocess.Popen[bytes]":
        arguments = [url, sign(), queue, self.type, str(start), str(count)]
        process = subprocess.Popen(
            [sys.executable, "-c", script, *arguments],
            env={"PYTHONPATH": str(ROOT), "PYTHONDONTWRITEBYTECODE": "1"},
            stdout=subprocess.PIPE,
        )
        self.addCleanup(process.wait)
        self.addCleanup(process.kill)
        assert process.stdout is not None
        self.addCleanup(process.stdout.close)
        return process

    def recorded(self, process: "subprocess.Popen[bytes]") -> None:
        assert process.stdout is not None
        self.assertEqual(process.stdout.readline(), b"recorded\n")

    def test_killed_processes_lose_nothing_and_send_nothing_twice(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            queue = str(Path(folder, "queue"))
            for i, fault in enumerate(["drop", "stall", "reset", "drop"]):
                self.proxy.plan += ["pass", fault]
                seen = len(self.proxy.requests)
                process = self.start(RECORD + "client.flush()\n", self.proxy.url, queue, 100 * i, 100)
                self.recorded(process)
                # killed before it sends the batch again, or while it does
                eventually(lambda: len(self.proxy.requests) >= seen + 2)
                process.send_signal(signal.SIGKILL)
                process.wait()
                self.proxy.plan.clear()
            self.assertEqual(os.stat(queue).st_mode & 0o777, 0o600)
            last = self.start(RECORD + FLUSH, self.proxy.url, queue, 400, 0)
            self.assertEqual(last.wait(PATIENCE), 0)
        self.assert_stored_once(labels(400))

    def test_processes_with_the_same_file_send_nothing_twice(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            queue = str(Path(folder, "queue"))
            self.proxy.plan += ["drop", "pass", "drop"]
            processes = [self.start(RECORD + FLUSH, self.proxy.url, queue, 500 * i, 500) for i in range(3)]
            for process in processes:
                self.recorded(process)
                self.assertEqual(process.wait(PATIENCE), 0)
        self.assertEqual(len(self.proxy.requests), self.proxy.responses)
        self.assertEqual(sorted(stored(self.type)), labels(1500))

    def test_a_process_that_ends_sends_what_is_left(self) -> None:
        # on a busy machine, two seconds can be too short
        patient = f"import rawlog._client\nrawlog._client._EXIT_SECONDS = {PATIENCE}\n"
        process = self.start(patient + RECORD, URL, "", 0, 120)
        self.assertEqual(process.wait(PATIENCE), 0)
        self.assert_stored_once(labels(120))

    def test_a_process_ends_although_the_server_stalls(self) -> None:
        self.proxy.plan += ["stall"] * 10
        process = self.start(RECORD, self.proxy.url, "", 0, 120)
        self.assertEqual(process.wait(PATIENCE), 0)

    def test_parent_and_child_each_send_their_own_events(self) -> None:
        for queue in (False, True):
            with self.subTest(queue=queue), tempfile.TemporaryDirectory() as folder:
                self.type += f"-{queue}"
                client = self.client(queue_path=f"{folder}/queue" if queue else None, flush_interval=PATIENCE)
                client.track(self.type, None, "before")
                child = os.fork()
                if child == 0:
                    status = 1
                    try:
                        client.track(self.type, None, "in the child")
                        status = 0 if client.flush(PATIENCE) else 2
                    finally:
                        os._exit(status)
                self.assertEqual(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]), 0)
                client.track(self.type, None, "in the parent")
                self.assertTrue(client.flush(PATIENCE))
                client.close()  # before its folder is deleted
                self.assert_stored_once(["before", "in the child", "in the parent"])

    def test_recording_continues_in_memory_if_the_file_fails(self) -> None:
        with tempfile.TemporaryDirectory() as folder:
            Path(folder, "queue").write_bytes(b"no database" * 1000)
            client = self.client(queue_path=f"{folder}/queue")
            with self.assertLogs("rawlog", "WARNING"):
                client.track(self.type, None, "a")
                self.assertTrue(client.flush(PATIENCE))
                client.close()
        self.assert_stored_once(["a"])
