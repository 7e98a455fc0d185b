"""The attributes of the old bus, to look at; nothing can be changed through them."""

import asyncio
from collections.abc import Mapping
from types import MappingProxyType
from typing import Any

from zejzl_ray.bus.concurrency import ConcurrencyLimit
from zejzl_ray.bus.mailbox import Mailbox
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.post_office import PostOffice


class QueueView:
    """How full the mailbox of an agent is, with the names of a queue.

    Args:
        box: the mailbox.
        size: what was asked for; None: the default bound.
    """

    __slots__ = ("_box", "_size")

    def __init__(self, box: Mailbox, size: int | None) -> None:
        self._box = box
        self._size = size

    def __len__(self) -> int:
        return len(self._box)

    def __bool__(self) -> bool:
        return True  # as a queue: it is there, also when nothing is in it

    @property
    def maxsize(self) -> int:
        """The size that was asked for; 0 for none."""
        return self._size or 0

    def qsize(self) -> int:
        """Return how many messages wait."""
        return len(self._box)

    def empty(self) -> bool:
        """Whether no message waits."""
        return len(self._box) == 0

    def full(self) -> bool:
        """Whether the next message does not fit."""
        return self._box.is_full


class OldAttributes:
    """What clients of the old bus read."""

    _office: PostOffice
    _limit: ConcurrencyLimit
    _sizes: dict[str, int | None]

    @property
    def queues(self) -> Mapping[str, QueueView]:
        """How full the mailboxes are, by agent."""
        office = self._office
        return MappingProxyType(
            {agent: QueueView(office.mailbox(agent), self._sizes.get(agent)) for agent in office.agents()}
        )

    @property
    def default_timeout(self) -> float:
        """Longest wait where none is given, seconds."""
        return self._office.options.default_timeout_s

    @property
    def history_size(self) -> int:
        """Messages kept for the history."""
        return self._office.options.history_size

    @property
    def message_count(self) -> int:
        """Messages sent."""
        return self._office.sent

    @property
    def start_time(self) -> float:
        """Wall time at which the bus was made."""
        return self._office.started_at_s

    @property
    def message_history(self) -> tuple[dict[str, Any], ...]:
        """The envelopes that are kept."""
        return tuple(self._office.history())

    @property
    def latency_by_type(self) -> Mapping[str, Mapping[str, float]]:
        """Latency by message type: count, avg_ms, min_ms, max_ms. The old one kept every single value."""
        return MappingProxyType(self._office.figures.latency_by_type())

    @property
    def pending_requests(self) -> "Mapping[str, asyncio.Future[Message]]":
        """The requests that wait for a reply, by correlation id."""
        return MappingProxyType(
            {pending.message.correlation_id or "": pending.future for pending in self._office.pending}
        )

    @property
    def concurrency_semaphore(self) -> ConcurrencyLimit:
        """The bound of callbacks."""
        return self._limit

    @property
    def concurrency_acquired(self) -> int:
        """How often a slot was taken."""
        return self._limit.acquired

    @property
    def concurrency_released(self) -> int:
        """How often a slot was given back."""
        return self._limit.released

    @property
    def concurrency_wait_time(self) -> float:
        """Time spent waiting for slots, seconds."""
        return self._limit.wait_s
