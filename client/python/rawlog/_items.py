"""Items: what a caller records, encoded for a batch."""

from __future__ import annotations

import json
import math
import time
import uuid
from datetime import datetime, timezone
from typing import Any, Dict, List, Mapping, NamedTuple, Optional, Tuple, Union

#: A metric or an event as `POST /log_batch` takes it, such as
#: ``{"metric_name": "load_time", "metric_value": 2.5, "timestamp": "2026-03-01T10:00:00Z"}``.
Item = Dict[str, Any]

#: When something happened: a datetime (without a time zone, it is local time) or a text in RFC 3339.
Timestamp = Union[datetime, str]


class Rejection(NamedTuple):
    """Why items were handed back."""

    #: The HTTP status, or 0 if the server did not reject the items.
    status: int
    #: The server's error code, or one of the client's: `invalid`, `queue_full`, `closed`, `outcome_unknown`.
    code: str
    #: A sentence for people. It contains no values of the items.
    message: str


INVALID = "invalid"
QUEUE_FULL = Rejection(0, "queue_full", "The queue is full; the oldest items were evicted.")
CLOSED = Rejection(0, "closed", "The client was closed before the items were sent.")
OUTCOME_UNKNOWN = Rejection(
    0, "outcome_unknown", "The server may have stored the items, and retrying could store them a second time."
)


class Entry(NamedTuple):
    """An item in a queue. Entries are sent in the order of `seq`."""

    seq: int
    is_metric: bool
    body: bytes

    def item(self) -> Item:
        """Returns the item that was encoded."""
        item: Item = json.loads(self.body)
        return item


class Batch:
    """Entries that are sent together, always with the same key and body."""

    def __init__(
        self, number: int, key: str, entries: List[Entry], uncertain_at: Optional[float] = None, failures: int = 0
    ) -> None:
        self.number = number
        #: The Idempotency-Key.
        self.key = key
        self.entries = entries
        #: Unix time of the first attempt that the server may have stored; None if there was none.
        self.uncertain_at = uncertain_at
        #: Number of error responses that may be permanent, although rawlog documents no such error.
        self.failures = failures

    def body(self) -> bytes:
        """Returns the request body, which depends only on the entries."""
        metrics = b",".join(entry.body for entry in self.entries if entry.is_metric)
        events = b",".join(entry.body for entry in self.entries if not entry.is_metric)
        return b'{"metrics":[%b],"analytics":[%b]}' % (metrics, events)

    def entry_at(self, kind: object, index: object) -> Optional[Entry]:
        """Returns the entry at a place in the body, such as ("metrics", 3)."""
        if kind not in ("metrics", "analytics") or not isinstance(index, int):
            return None
        entries = [entry for entry in self.entries if entry.is_metric == (kind == "metrics")]
        return entries[index] if 0 <= index < len(entries) else None


def new_key() -> str:
    """Returns a new Idempotency-Key."""
    return uuid.uuid4().hex


def now_text() -> str:
    """Returns the current time in RFC 3339, with microseconds."""
    return _rfc3339(datetime.fromtimestamp(time.time(), timezone.utc))


def metric_item(
    name: object, value: object, label: Optional[str], timestamp: Optional[Timestamp], user_id: Optional[str]
) -> Item:
    """Returns a metric as it was recorded, without validation."""
    item: Item = {"metric_name": name, "metric_value": value}
    if label is not None and label != "":
        item["data_string"] = label
    return _with_common(item, timestamp, user_id)


def event_item(
    type: object,
    data: Optional[Mapping[str, Any]],
    index: Optional[str],
    timestamp: Optional[Timestamp],
    user_id: Optional[str],
) -> Item:
    """Returns an event as it was recorded, without validation."""
    item: Item = {"type": type, "data": {} if data is None else data}
    if index is not None and index != "":
        item["data_index"] = index
    return _with_common(item, timestamp, user_id)


def _with_common(item: Item, timestamp: Optional[Timestamp], user_id: Optional[str]) -> Item:
    item["timestamp"] = now_text() if timestamp is None else timestamp
    if user_id is not None:
        item["user_id"] = user_id
    return item


def encode(item: Item) -> Tuple[bool, bytes]:
    """Validates an item. Returns whether it is a metric, and its JSON in UTF-8.

    The server checks everything else, such as the lengths of texts.

    :raises ValueError: with a message for people, without values of the item
    """
    is_metric = "metric_name" in item
    sent = dict(item)
    for name in ("metric_name", "type", "data_string", "data_index", "user_id"):
        if name in sent:
            sent[name] = _text(name, sent[name])
    if is_metric:
        sent["metric_value"] = _number(sent["metric_value"])
    elif not isinstance(sent["data"], Mapping):
        raise ValueError("data is not a mapping")
    else:
        sent["data"] = dict(sent["data"])
    timestamp = sent["timestamp"]
    sent["timestamp"] = _rfc3339(timestamp) if isinstance(timestamp, datetime) else _text("timestamp", timestamp)
    try:
        return is_metric, json.dumps(sent, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()
    except UnicodeEncodeError:
        raise ValueError("data contains a lone surrogate") from None
    except (TypeError, ValueError, RecursionError):
        # the original message may quote a value
        raise ValueError("data is not JSON: it contains NaN, infinity, a cycle, or a value of another type") from None


def _text(name: str, value: object) -> str:
    if not isinstance(value, str):
        raise ValueError(f"{name} is not a string")
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{name} contains a lone surrogate") from None
    return value


def _number(value: object) -> float:
    """Returns a number, such as an int, a Decimal or a number of NumPy, as the nearest double."""
    if isinstance(value, (bool, str, bytes)) or not hasattr(value, "__float__"):
        raise ValueError("metric_value is not a number")
    try:
        number = float(value)
    except (OverflowError, TypeError, ValueError):
        raise ValueError("metric_value is not a number that a double can represent") from None
    if not math.isfinite(number):
        raise ValueError("metric_value is not finite")
    return number


def _rfc3339(moment: datetime) -> str:
    # a datetime without a time zone is local time, as for datetime.timestamp()
    return moment.astimezone(timezone.utc).isoformat(timespec="microseconds").replace("+00:00", "Z")
