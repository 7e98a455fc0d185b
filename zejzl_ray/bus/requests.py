"""Requests that wait for their reply, by correlation id."""

import asyncio
from collections import OrderedDict
from collections.abc import Iterator

from zejzl_ray.bus.hands import Hand
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import ZejzlError


class PendingRequest:
    """One request under way.

    Attributes:
        future: gets the reply, or what went wrong.
        message: the request.
        since_s: wall time of its start.
        slot: which handler of the requester waits; None outside of a handler.
        hand: which task waits, outside of a handler.
        host: process that it was sent to; empty for this one.
    """

    __slots__ = ("future", "hand", "host", "message", "since_s", "slot")

    def __init__(
        self,
        future: "asyncio.Future[Message]",
        message: Message,
        since_s: float,
        slot: int | None = None,
        hand: Hand | None = None,
    ) -> None:
        self.future = future
        self.message = message
        self.since_s = since_s
        self.slot = slot
        self.hand = hand
        self.host = ""


class PendingRequests:
    """The requests of one process that wait; a reply goes to its own request and to no other.

    Args:
        remembered: how many finished ones are remembered, to tell a late reply from other mail.
    """

    def __init__(self, remembered: int) -> None:
        self._waiting: dict[str, PendingRequest] = {}
        self._finished: OrderedDict[str, None] = OrderedDict()
        self._remembered = remembered

    def __len__(self) -> int:
        return len(self._waiting)

    def __iter__(self) -> Iterator[PendingRequest]:
        return iter(tuple(self._waiting.values()))

    def __contains__(self, correlation_id: str) -> bool:
        return correlation_id in self._waiting

    def get(self, correlation_id: str) -> PendingRequest | None:
        """Return a request that waits."""
        return self._waiting.get(correlation_id)

    def add(self, pending: PendingRequest) -> None:
        """Begin to wait; the correlation id must not be waiting already."""
        assert pending.message.correlation_id is not None
        self._waiting[pending.message.correlation_id] = pending

    def remove(self, correlation_id: str) -> None:
        """Stop waiting, however it ended."""
        if self._waiting.pop(correlation_id, None) is not None and self._remembered:
            self._finished[correlation_id] = None
            if len(self._finished) > self._remembered:
                self._finished.popitem(last=False)

    def has_ended(self, correlation_id: str) -> bool:
        """Tell whether a request has ended just now or not long ago, so that a reply to it comes too late."""
        pending = self._waiting.get(correlation_id)
        return correlation_id in self._finished if pending is None else pending.future.done()

    def is_request(self, message: Message) -> bool:
        """Tell whether a message is itself a request that waits, not another one with its correlation id."""
        pending = self._waiting.get(message.correlation_id or "")
        return pending is not None and pending.message.id == message.id

    def resolve(self, message: Message, *, from_asked_only: bool) -> bool:
        """Give a reply to its request; False when it is none, or its request does not wait (any more).

        Args:
            message: with a correlation id.
            from_asked_only: take it only from the agent that was asked: other processes are not trusted to answer
                for it.
        """
        pending = self._waiting.get(message.correlation_id or "")
        if pending is None:
            return False
        request = pending.message
        if request.from_agent != message.to_agent or message.id == request.id:
            return False
        if from_asked_only and message.from_agent != request.to_agent:
            return False
        if pending.future.done():
            return False
        pending.future.set_result(message)
        return True

    def fail(self, correlation_id: str, error: ZejzlError) -> bool:
        """End a request with an error; False when it does not wait."""
        pending = self._waiting.get(correlation_id)
        if pending is None or pending.future.done():
            return False
        pending.future.set_exception(error)
        return True
