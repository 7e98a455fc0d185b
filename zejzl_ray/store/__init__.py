"""Durable state of a service: one protocol, three implementations.

``open_store`` picks the implementation from a URL. ``docs/store.md`` holds the key layout and the fsync
policy of each.
"""

from zejzl_ray.store.durability import Durability
from zejzl_ray.store.memory import MemoryState, MemoryStore
from zejzl_ray.store.open import open_store
from zejzl_ray.store.protocol import Append, Delete, LogEntry, Op, Put, Store, Trim, Versioned

__all__ = [
    "Append",
    "Delete",
    "Durability",
    "LogEntry",
    "MemoryState",
    "MemoryStore",
    "Op",
    "Put",
    "Store",
    "Trim",
    "Versioned",
    "open_store",
]
