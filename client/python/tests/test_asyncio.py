"""The client for asyncio."""

from __future__ import annotations

import asyncio
import threading
from typing import List

from support import PATIENCE, AsyncClient, ClientTest, Item, Rejection, eventually, labels, sign


class AsyncClientTest(ClientTest):
    def test_events_are_stored_and_callbacks_run_in_the_loop(self) -> None:
        threads: List[int] = []

        async def token() -> str:
            threads.append(threading.get_ident())
            return sign()

        def reject(items: List[Item], reason: Rejection) -> None:
            threads.append(threading.get_ident())
            self.back(items, reason)

        async def run() -> None:
            async with AsyncClient(self.proxy.url, token, reject, flush_interval=0.05) as client:
                for label in labels(30):
                    client.track(self.type, None, label)
                client.metric(self.type, float("nan"))
                self.assertTrue(await client.flush(PATIENCE))
                self.assertEqual(self.back.reasons(), [(0, "invalid")])
                client.track(self.type, None, "closing")

        asyncio.run(run())
        self.assert_stored_once(labels(30) + ["closing"])
        self.assertEqual(set(threads), {threading.get_ident()})

    def test_the_loop_runs_while_the_server_stalls(self) -> None:
        self.proxy.plan.append("stall")

        async def run() -> None:
            client = AsyncClient(self.proxy.url, sign(), self.back, flush_interval=0.05, timeout=PATIENCE)
            client.track(self.type, None, "a")
            flush = asyncio.ensure_future(client.flush(PATIENCE))
            turns = 0
            while not self.proxy.requests or turns < 100:
                await asyncio.sleep(0)
                turns += 1
            self.assertFalse(flush.done())
            flush.cancel()
            self.assertFalse(await client.flush(0.05))
            await client.close(0)
            while not self.back.calls:
                await asyncio.sleep(0.01)
            self.assertEqual(self.back.reasons(), [(0, "outcome_unknown")])

        asyncio.run(run())

    def test_an_abandoned_client_does_not_keep_the_loop_open(self) -> None:
        async def run() -> AsyncClient:
            client = AsyncClient(self.proxy.url, sign(), self.back, flush_interval=0.05)
            client.track(self.type, None, "a")
            return client

        asyncio.run(run())
        eventually(lambda: self.proxy.responses == 1)
        self.assert_stored_once(["a"])
