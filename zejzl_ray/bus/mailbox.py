"""Where the mail of one agent waits."""

import asyncio
from collections import deque
from collections.abc import Iterator
from enum import StrEnum
from typing import Final

from zejzl_ray.bus.lanes import Lanes
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import BusClosed, InvalidInput, MailboxFull, RequestTimedOut

DEFAULT_CAPACITY: Final = 100_000


class Overflow(StrEnum):
    """What happens to mail for a full mailbox."""

    WAIT = "wait"  # the sender waits, at most as long as its message is wanted
    REJECT = "reject"  # the sender gets MailboxFull
    DROP_OLDEST_LOW = "drop_oldest_low"  # the oldest LOW mail makes room; without any, as REJECT


class Mailbox:
    """A bounded queue with several receivers, for one event loop.

    A receiver that waits gets the next message directly. One that is cancelled while it gets one gives it back to its
    place, so nothing is lost.

    Args:
        agent: whose it is.
        capacity: how many messages it holds, at least 1.
        overflow: what happens to more.
        mail_scope: resource of the scope that a sender from another process needs: ``mail:<mail_scope>:write``.
    """

    __slots__ = (
        "_closed", "_lanes", "_loop", "_receivers", "_senders", "agent", "capacity", "mail_scope", "overflow", "streak",
    )  # fmt: skip

    def __init__(
        self,
        agent: str,
        *,
        capacity: int = DEFAULT_CAPACITY,
        overflow: Overflow = Overflow.REJECT,
        mail_scope: str = "agents",
    ) -> None:
        if not isinstance(capacity, int) or capacity < 1:
            raise InvalidInput(f"The mailbox of {agent} has a capacity of {capacity!r}.", "Give 1 or more.")
        self.agent = agent
        self.capacity = capacity
        self.overflow = Overflow(overflow)
        self.mail_scope = mail_scope
        self.streak = 0  # messages taken since somebody last had to wait
        self._lanes = Lanes()
        self._receivers: deque[asyncio.Future[Message]] = deque()
        self._senders: deque[asyncio.Future[None]] = deque()
        self._closed = False
        self._loop: asyncio.AbstractEventLoop | None = None

    def __len__(self) -> int:
        return self._lanes.size

    def __iter__(self) -> Iterator[Message]:
        return iter(self._lanes)

    @property
    def is_full(self) -> bool:
        """Whether the next message does not fit."""
        return self._lanes.size >= self.capacity

    @property
    def has_receiver(self) -> bool:
        """Whether somebody waits for mail now."""
        return any(not receiver.done() for receiver in self._receivers)

    def put(self, message: Message) -> Message | None:
        """Hand a message to a waiting receiver or queue it; return the LOW message that had to make room.

        Raises:
            MailboxFull: it does not fit, and nothing makes room.
        """
        receivers = self._receivers
        while receivers:
            receiver = receivers.popleft()
            if not receiver.done():
                receiver.set_result(message)
                return None
        dropped = None
        if self._lanes.size >= self.capacity:
            dropped = self._lanes.drop_oldest_low() if self.overflow is Overflow.DROP_OLDEST_LOW else None
            if dropped is None:
                raise self._full(message)
        self._lanes.push(message)
        return dropped

    async def room(self, message: Message, timeout_s: float) -> None:
        """Wait until a message fits.

        Raises:
            MailboxFull: it did not fit within ``timeout_s``.
            BusClosed: the mailbox was closed.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        while self.is_full and not self.has_receiver:
            waiter = loop.create_future()
            self._senders.append(waiter)
            timer = loop.call_at(deadline_s, _wake_sender, waiter)
            try:
                await waiter
            finally:
                timer.cancel()
                if waiter in self._senders:
                    self._senders.remove(waiter)
            if self._closed:
                raise self._gone()
            if self.is_full and loop.time() >= deadline_s:
                raise self._full(message)

    def put_back(self, message: Message) -> None:
        """Put a message that was taken back in front, above the capacity if need be."""
        receivers = self._receivers
        while receivers:
            receiver = receivers.popleft()
            if not receiver.done():
                receiver.set_result(message)
                return
        self._lanes.push_first(message)

    def take(self) -> Message | None:
        """Take the next message, None when there is none."""
        if not self._lanes.size:
            return None
        self.streak += 1
        message = self._lanes.pop()
        if self._senders:
            self._wake_next_sender()
        return message

    async def wait(self, timeout_s: float) -> Message:
        """Wait for a message; the mailbox must be empty.

        Raises:
            RequestTimedOut: none came in time; it is a TimeoutError.
            BusClosed: the mailbox was closed.
        """
        loop = self._loop
        if loop is None:
            loop = self._loop = asyncio.get_running_loop()
        self.streak = 0
        receiver: asyncio.Future[Message] = loop.create_future()
        self._receivers.append(receiver)
        timer = loop.call_later(timeout_s, _expire, receiver, self.agent, timeout_s)
        try:
            return await receiver
        except BaseException:
            if receiver in self._receivers:
                self._receivers.remove(receiver)
            elif receiver.done() and not receiver.cancelled() and receiver.exception() is None:
                self.put_back(receiver.result())  # it was cancelled while it got a message
            raise
        finally:
            timer.cancel()

    def close(self) -> list[Message]:
        """Close it: whoever waits gets BusClosed, what is in it is returned in its order."""
        self._closed = True
        for receiver in self._receivers:
            if not receiver.done():
                receiver.set_exception(self._gone())
        self._receivers.clear()
        for sender in self._senders:
            if not sender.done():
                sender.set_result(None)
        return self._lanes.clear()

    def clear(self) -> list[Message]:
        """Take everything out; receivers and capacity stay as they are."""
        taken = self._lanes.clear()
        for _ in taken:
            self._wake_next_sender()
        return taken

    def _wake_next_sender(self) -> None:
        while self._senders:
            sender = self._senders.popleft()
            if not sender.done():
                sender.set_result(None)
                return

    def _full(self, message: Message) -> MailboxFull:
        return MailboxFull(
            f"The mailbox of {self.agent} is full: {self._lanes.size} messages.",
            "Send later, or give the agent a larger mailbox or more concurrency.",
            {"to_agent": self.agent, "from_agent": message.from_agent, "capacity": self.capacity},
        )

    def _gone(self) -> BusClosed:
        return BusClosed(f"The mailbox of {self.agent} was closed.", "", {"agent": self.agent})


def _wake_sender(waiter: "asyncio.Future[None]") -> None:
    if not waiter.done():
        waiter.set_result(None)


def _expire(receiver: "asyncio.Future[Message]", agent: str, timeout_s: float) -> None:
    if not receiver.done():
        receiver.set_exception(
            RequestTimedOut(
                f"No mail for {agent} within {timeout_s:g} s.", "", {"agent": agent, "timeout_s": timeout_s}
            )
        )
