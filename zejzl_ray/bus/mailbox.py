"""Where the mail of one agent waits."""

import asyncio
from collections import deque
from collections.abc import Callable, Iterator
from enum import StrEnum
from typing import Final

from zejzl_ray.bus.hands import Hand
from zejzl_ray.bus.lanes import Lanes
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.options import check_time_limit
from zejzl_ray.bus.time_limits import TimeLimits
from zejzl_ray.errors import BusClosed, InvalidInput, MailboxFull, RequestTimedOut
from zejzl_ray.metrics.figures import AgentSeries, MailFigures

DEFAULT_CAPACITY: Final = 100_000


class Overflow(StrEnum):
    """What happens to mail for a full mailbox."""

    WAIT = "wait"  # the sender waits, at most as long as its message is wanted
    REJECT = "reject"  # the sender gets MailboxFull
    DROP_OLDEST_LOW = "drop_oldest_low"  # the oldest LOW mail makes room; without any, as REJECT


class Mailbox:
    """A bounded queue with several receivers, for one event loop.

    A receiver that waits gets the next message directly. One that is cancelled while it gets one gives it back to its
    place, so nothing is lost. Senders that wait for room get it in the order in which they came.

    Args:
        agent: whose it is.
        capacity: how many messages it holds, at least 1.
        overflow: what happens to more.
        mail_scope: resource of the scope that a sender from another process needs: ``mail:<mail_scope>:write``.
        series: figures of the agent by message type; None: own ones.

    Attributes:
        loop: the event loop that it belongs to; None until somebody has waited for mail.
        reader: the task that waited for mail last, for an agent without a runner.
        taken: how many messages were taken.
        series: figures of the agent by message type.
    """

    __slots__ = (
        "_granted", "_is_closed", "_lanes", "_limits", "_lose", "_receivers", "_senders",
        "agent", "capacity", "loop", "mail_scope", "overflow", "reader", "series", "taken",
    )  # fmt: skip

    def __init__(
        self,
        agent: str,
        *,
        capacity: int = DEFAULT_CAPACITY,
        overflow: Overflow = Overflow.REJECT,
        mail_scope: str = "agents",
        series: AgentSeries | None = None,
    ) -> None:
        if not isinstance(capacity, int) or isinstance(capacity, bool) or capacity < 1:
            raise InvalidInput(f"The mailbox of {agent} has a capacity of {capacity!r}.", "Give 1 or more.")
        if overflow not in tuple(Overflow):
            raise InvalidInput(
                f"The mailbox of {agent} has the policy {overflow!r}.", f"Use one of {', '.join(Overflow)}."
            )
        self.agent = agent
        self.capacity = capacity
        self.overflow = Overflow(overflow)
        self.mail_scope = mail_scope
        self.loop: asyncio.AbstractEventLoop | None = None
        self.reader: Hand | None = None
        self.taken = 0
        self.series = MailFigures().agent(agent) if series is None else series
        self._lanes = Lanes()
        # each gets how many messages were taken before, and the message
        self._receivers: deque[asyncio.Future[tuple[int, Message]]] = deque()
        self._senders: deque[asyncio.Future[bool]] = deque()  # True: there is room
        self._granted = 0  # places that woken senders may take
        self._is_closed = False
        self._lose: Callable[[Message], None] | None = None
        self._limits = TimeLimits()

    def __len__(self) -> int:
        return self._lanes.size

    def __iter__(self) -> Iterator[Message]:
        return iter(self._lanes)

    @property
    def is_full(self) -> bool:
        """Whether the next message does not fit."""
        return self._lanes.size + self._granted >= self.capacity

    @property
    def makes_wait(self) -> bool:
        """Whether a sender has to wait: the next message does not fit, or others who waited come first."""
        return self._granted > 0 or bool(self._senders) or self._lanes.size >= self.capacity

    @property
    def has_receiver(self) -> bool:
        """Whether somebody waits for mail now."""
        return any(not receiver.done() for receiver in self._receivers)

    def put(self, message: Message) -> Message | None:
        """Hand a message to a waiting receiver or queue it; return the LOW message that had to make room.

        Raises:
            MailboxFull: it does not fit, and nothing makes room.
        """
        if self._receivers and self._hand_over(message):
            return None
        dropped = None
        lanes = self._lanes
        if lanes.size >= self.capacity:
            dropped = lanes.drop_oldest_low() if self.overflow is Overflow.DROP_OLDEST_LOW else None
            if dropped is None:
                raise self.full(message)
        # As ``Lanes.push``, without calls of their own.
        lanes.size += 1
        lane = lanes.by_priority[message.priority]
        queue = lane.queues.get(message.from_agent)
        if queue is None:
            lane.begin(message)
        else:
            queue.append(message)
        return dropped

    def _hand_over(self, message: Message) -> bool:
        """Give a message to the receiver that has waited longest; False when none waits."""
        receivers = self._receivers
        while receivers:
            receiver = receivers.popleft()
            if not receiver.done():
                self.taken += 1
                receiver.set_result((self.taken, message))
                if self._senders:
                    self._grant()
                return True
        return False

    async def room(self, message: Message, timeout_s: float) -> None:
        """Wait until a message fits, behind those who wait already; it has to be put at once then.

        Raises:
            MailboxFull: it did not fit within ``timeout_s``.
            BusClosed: the mailbox was closed.
        """
        loop = asyncio.get_running_loop()
        deadline_s = loop.time() + timeout_s
        has_waited = False
        while True:
            waiter: asyncio.Future[bool] = loop.create_future()
            if has_waited:
                self._senders.appendleft(waiter)  # mail that was put back took its place
            else:
                self._senders.append(waiter)
            self._grant()
            timer = loop.call_at(deadline_s, _refuse, waiter)
            try:
                if waiter.done() and self._granted > 1:
                    await asyncio.sleep(
                        0
                    )  # those who got their places before have not put their messages yet
                is_granted = await waiter
            except asyncio.CancelledError:
                self._give_up(waiter)
                raise
            finally:
                timer.cancel()
            if self._is_closed:
                raise self._gone()
            if not is_granted:
                if waiter in self._senders:  # a place that got free in the same moment has taken it out
                    self._senders.remove(waiter)
                raise self.full(message)
            self._granted -= 1
            if self._lanes.size < self.capacity:
                return
            has_waited = True

    def put_back(self, message: Message, taken: int) -> None:
        """Put a message that was taken in vain back to its place, above the capacity if need be.

        Args:
            message: the message.
            taken: what the attribute ``taken`` was right after it was taken.
        """
        if self._is_closed:
            if self._lose is not None:
                self._lose(message)
            return
        receivers = self._receivers
        while receivers:
            receiver = receivers.popleft()
            if not receiver.done():
                receiver.set_result((taken, message))
                return
        self._lanes.push_back(message, taken)

    def take(self) -> Message | None:
        """Take the next message, None when there is none."""
        lanes = self._lanes
        if not lanes.size:
            return None
        self.taken += 1
        message = lanes.pop()
        if self._senders:
            self._grant()
        return message

    async def wait(self, timeout_s: float) -> Message:
        """Wait for a message; the mailbox must be empty.

        Raises:
            RequestTimedOut: none came in time; it is a TimeoutError.
            BusClosed: the mailbox was closed.
        """
        if timeout_s.__class__ is not float or not timeout_s >= 0:
            check_time_limit(timeout_s)
        loop = self.loop
        if loop is None:
            loop = self.loop = asyncio.get_running_loop()
        receiver: asyncio.Future[tuple[int, Message]] = loop.create_future()
        self._limits.begin(receiver, timeout_s, _expire, receiver, self.agent, timeout_s)
        self._receivers.append(receiver)
        try:
            return (await receiver)[1]
        except BaseException:
            if receiver in self._receivers:
                self._receivers.remove(receiver)
            if receiver.done() and not receiver.cancelled() and receiver.exception() is None:
                taken, message = receiver.result()
                self.put_back(message, taken)  # it was cancelled while it got a message
            raise
        finally:
            self._limits.end(receiver)

    def close(self, lose: Callable[[Message], None] | None = None) -> list[Message]:
        """Close it: whoever waits gets BusClosed, what is in it is returned in its order.

        Args:
            lose: takes what comes back later, from a receiver that is cancelled while it gets a message.
        """
        self._is_closed = True
        self._lose = lose
        for receiver in self._receivers:
            if not receiver.done():
                receiver.set_exception(self._gone())
        self._receivers.clear()
        for sender in self._senders:
            _refuse(sender)
        self._senders.clear()
        self._granted = 0
        return self._lanes.clear()

    def clear(self) -> list[Message]:
        """Take everything out; receivers and capacity stay as they are."""
        taken = self._lanes.clear()
        self._grant()
        return taken

    def _grant(self) -> None:
        """Let as many waiting senders go on as there is room for."""
        while self._senders and not self.is_full:
            sender = self._senders.popleft()
            if not sender.done():
                self._granted += 1
                sender.set_result(True)

    def _give_up(self, waiter: "asyncio.Future[bool]") -> None:
        """Take a sender out that waits no more; its place, if it had one, is the next one's."""
        if waiter in self._senders:
            self._senders.remove(waiter)
        elif not waiter.cancelled() and waiter.result() and not self._is_closed:
            self._granted -= 1
            self._grant()

    def full(self, message: Message) -> MailboxFull:
        """Return the error that says that a message does not fit."""
        return MailboxFull(
            f"The mailbox of {self.agent} is full: {self._lanes.size} messages.",
            "Send later, or give the agent a larger mailbox or more concurrency.",
            {"to_agent": self.agent, "from_agent": message.from_agent, "capacity": self.capacity},
        )

    def _gone(self) -> BusClosed:
        return BusClosed(
            f"The mailbox of {self.agent} was closed.",
            "Send once it is open again.",
            {"to_agent": self.agent},
        )


def _refuse(waiter: "asyncio.Future[bool]") -> None:
    if not waiter.done():
        waiter.set_result(False)


def _expire(receiver: "asyncio.Future[tuple[int, Message]]", agent: str, timeout_s: float) -> None:
    if not receiver.done():
        receiver.set_exception(
            RequestTimedOut(
                f"No mail for {agent} within {timeout_s:g} s.", "", {"agent": agent, "timeout_s": timeout_s}
            )
        )
