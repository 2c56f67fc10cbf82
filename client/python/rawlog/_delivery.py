"""Delivers batches: what each response means for a batch and its items."""

from __future__ import annotations

import random
import time
from typing import Callable, Dict, List, Optional, Sequence, Tuple, Union

from ._items import OUTCOME_UNKNOWN, Batch, Entry, Rejection
from ._queue import Limits, Queue
from ._transport import NoResponse, NotSent, Response, Transport

#: A token, or a function that returns a fresh one.
Token = Union[str, Callable[[], str]]

#: First and longest delay between attempts, in seconds. Each failure doubles the delay.
_FIRST_DELAY = 0.5
_LONGEST_DELAY = 60.0
#: Part of a delay that is random, so that clients do not return together.
_JITTER = 0.5
#: How long the server keeps a key for certain, less an hour for differing clocks, in seconds.
_KEY_LIFETIME = 23 * 3600.0
#: Attempts after which a batch is handed back that gets errors which should not be permanent: a 500 of rawlog, or a
#: 4xx of something between.
_MAX_FAILURES = 10
#: Error codes of responses after which the batch is certainly not stored by this attempt.
_NOT_STORED = {"unauthorized", "rate_limited", "keys_unavailable", "storage_full", "overloaded", "shutting_down"}

HandBack = Callable[[Sequence[Entry], Rejection], None]


class Delivery:
    """Sends one batch at a time, and remembers when the next attempt may be made."""

    def __init__(self, transport: Transport, token: Token, limits: Limits, hand_back: HandBack) -> None:
        self._transport = transport
        self._get_token = token if callable(token) else None
        self._token = None if callable(token) else token
        #: Largest batch; it shrinks if the server accepts only smaller ones.
        self.limits = limits
        self._hand_back = hand_back
        self._delay = _FIRST_DELAY
        #: On the monotonic clock.
        self.retry_at = 0.0
        #: Whether the server rejected the token.
        self.is_unauthorized = False

    def deliver(self, queue: Queue, batch: Batch) -> bool:
        """Makes one attempt to send a batch. Returns whether it has left the queue, or was replaced.

        Items are handed back before they leave the queue: if the process is killed in between, they are handed back
        again.
        """
        since = batch.uncertain_at
        if since is not None and time.time() - since > _KEY_LIFETIME:
            self._hand_back(batch.entries, OUTCOME_UNKNOWN)
            queue.complete(batch)
            return True
        if since is None:
            batch.uncertain_at = time.time()
            queue.update(batch)
        try:
            response = self._post(batch)
        except NoResponse:
            return self._wait()
        except NotSent:
            response = None
        if response is None or response.code in _NOT_STORED:
            if since is None:
                batch.uncertain_at = None
                queue.update(batch)
            return self._wait(response.retry_after if response else None)
        if response.stores(batch):
            self._succeed()
            queue.complete(batch)
            return True
        return self._reject(queue, batch, response)

    def pause(self, seconds: float) -> None:
        """Postpones the next attempt."""
        self.retry_at = max(self.retry_at, time.monotonic() + seconds)

    def close(self) -> None:
        """Ends the current attempt. Further ones send nothing."""
        self._transport.close()

    def leave(self) -> None:
        """Leaves the connection to the parent process, in a forked one."""
        self._transport.leave()

    def _post(self, batch: Batch) -> Response:
        """Sends a batch, with a fresh token after a 401."""
        is_fresh = self._token is None
        response = self._transport.post(batch, self._current_token())
        if response.status == 401 and self._get_token is not None and not is_fresh:
            self._token = None
            response = self._transport.post(batch, self._current_token())
        self.is_unauthorized = response.status == 401
        if self.is_unauthorized and self._get_token is not None:
            self._token = None  # the next attempt fetches one
        return response

    def _current_token(self) -> str:
        if self._token is None:
            if self._get_token is None:
                raise NotSent("no token")
            try:
                token = self._get_token()
                token.encode("ascii")
            except Exception as error:
                raise NotSent("the token function failed") from error
            self._token = token
        return self._token

    def _reject(self, queue: Queue, batch: Batch, response: Response) -> bool:
        """Handles an error that another attempt may not solve."""
        status, code = response.status, response.code
        if status == 413:
            return self._split(queue, batch, response)
        if code is None or status >= 500:
            # of a proxy, or unforeseen: worth some more attempts, except for outages, which pass
            if status == 500 or 400 <= status < 500 and status not in (401, 408, 425, 429):
                batch.failures += 1
                queue.update(batch)
                if batch.failures >= _MAX_FAILURES:
                    return self._give_up(queue, batch, batch.entries, response)
            return self._wait(response.retry_after)
        if code == "idempotency_mismatch":
            queue.replace(batch, [batch.entries])  # the key belongs to another payload
            return True
        if status == 422:
            invalid = _invalid_entries(batch, response)
            if not invalid:
                return self._split(queue, batch, response)
            return self._give_up(queue, batch, invalid, response)
        # only an admin may record for other users, and one such item rejects the whole batch
        for_others = [entry for entry in batch.entries if code == "forbidden" and "user_id" in entry.item()]
        return self._give_up(queue, batch, for_others or batch.entries, response)

    def _split(self, queue: Queue, batch: Batch, response: Response) -> bool:
        """Halves a batch that is too large, or that contains an invalid item at an unknown place."""
        half = (len(batch.entries) + 1) // 2
        if half == len(batch.entries):
            return self._give_up(queue, batch, batch.entries, response)
        if response.status == 413:
            self.limits = Limits(self.limits.items, min(self.limits.bytes, len(batch.body()) // 2))
        elif _is_too_long(response):
            self.limits = Limits(half, self.limits.bytes)
        self._succeed()
        queue.replace(batch, [batch.entries[:half], batch.entries[half:]])
        return True

    def _give_up(self, queue: Queue, batch: Batch, some: Sequence[Entry], response: Response) -> bool:
        """Hands some items back. The others get a new key, because their batch has another body."""
        fallback = "payload_too_large" if response.status == 413 else "unexpected_response"
        reason = Rejection(response.status, response.code or fallback, str(response.body.get("message", "")))
        self._succeed()
        self._hand_back(some, reason)
        rejected = {entry.seq for entry in some}
        rest = [entry for entry in batch.entries if entry.seq not in rejected]
        queue.replace(batch, [rest] if rest else [])
        return True

    def _succeed(self) -> None:
        self._delay = _FIRST_DELAY
        self.retry_at = 0.0

    def _wait(self, retry_after: Optional[float] = None) -> bool:
        """Schedules the next attempt, never before the time that the server asked for."""
        delay = self._delay * (1 - _JITTER * random.random())
        if retry_after is not None:
            delay = retry_after + _JITTER * random.random() * min(self._delay, retry_after)
        self.retry_at = time.monotonic() + delay
        self._delay = min(self._delay * 2, _LONGEST_DELAY)
        return False


def _invalid_entries(batch: Batch, response: Response) -> List[Entry]:
    """Returns the entries that a 422 names, such as ["body", "metrics", 3, "metric_value"].

    `too_many_names` names the first use of each name, and applies to all others.
    """
    invalid: Dict[int, Entry] = {}
    detail = response.body.get("detail")
    for issue in detail if isinstance(detail, list) else []:
        loc = issue.get("loc") if isinstance(issue, dict) else None
        if isinstance(loc, list) and len(loc) >= 3 and loc[0] == "body":
            entry = batch.entry_at(loc[1], loc[2])
            if entry is not None:
                invalid[entry.seq] = entry
    if response.code == "too_many_names":
        names = {_name(entry) for entry in invalid.values()}
        return [entry for entry in batch.entries if _name(entry) in names]
    return list(invalid.values())


def _name(entry: Entry) -> Tuple[bool, object, object]:
    item = entry.item()
    return entry.is_metric, item.get("user_id"), item["metric_name" if entry.is_metric else "type"]


def _is_too_long(response: Response) -> bool:
    detail = response.body.get("detail")
    return isinstance(detail, list) and any(isinstance(issue, dict) and issue.get("type") == "too_long" for issue in detail)
