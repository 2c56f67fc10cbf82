"""Client for rawlog: records metrics and events without losing them, and without waiting for the network."""

from ._async_client import AsyncClient
from ._client import Client
from ._items import Item, Rejection

__all__ = ["AsyncClient", "Client", "Item", "Rejection"]
