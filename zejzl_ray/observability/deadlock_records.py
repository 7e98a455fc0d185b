"""What the hub keeps of deadlocks over restarts."""

from typing import ClassVar

from zejzl_ray.commands.records import Record
from zejzl_ray.contracts.observability_hub import DeadlockEvent


class DeadlockRecord(Record):
    """One deadlock that was found."""

    KIND: ClassVar[str] = "deadlock"

    event: DeadlockEvent


class DeadlockCounts(Record):
    """How many were found and broken, ever."""

    KIND: ClassVar[str] = "deadlock_counts"

    detected: int = 0
    broken: int = 0


COUNTS_KEY = "all"


def key_of_revision(revision: int) -> str:
    """Return the key under which a deadlock is stored; keys sort as revisions do."""
    return f"{revision:012d}"
