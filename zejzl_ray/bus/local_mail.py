"""The mail of one process that stays in it: mailboxes, requests that wait, history, figures, dead letters."""

import asyncio
import itertools
import secrets
import time
from collections.abc import Iterator
from typing import Final

from zejzl_ray.bus.dead_letters import DeadLetterReason, DeadLetters
from zejzl_ray.bus.handling import Handlings
from zejzl_ray.bus.hands import Hand, own_hand
from zejzl_ray.bus.history import History
from zejzl_ray.bus.mailbox import Mailbox, Overflow
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.ports import Durable
from zejzl_ray.bus.recent import RecentCount
from zejzl_ray.bus.requests import PendingRequests
from zejzl_ray.bus.time_limits import TimeLimits
from zejzl_ray.bus.topics import TopicTable
from zejzl_ray.bus.undeliverable import error_for
from zejzl_ray.clock import Clock, SystemClock
from zejzl_ray.errors import BusClosed, BusError, Conflict, InvalidInput, RequestTimedOut, UnknownAgent
from zejzl_ray.metrics.figures import MailFigures

YIELD_EVERY: Final = 63  # messages that go through without anybody having waited; a power of two less one
_SUFFIXES: Final = tuple(f"{number:03d}" for number in range(1000))
_TAKEN: Final = 1000
_SHOWN: Final = 100


class LocalMail:
    """What the bus of a process holds; belongs to one event loop.

    Attributes:
        boot: of this process; another one at every start.
        boxes: agent -> mailbox.
        dead_letters: what could not be delivered.
        figures: counts and latencies.
        handlings: the handlers at work, kept by the runners of agents.
        is_closed: nothing goes in any more.
        limits: time limits of requests.
        monotonic_s, now_s: the clock's.
        pending: requests that wait.
        sent: messages sent by agents of this process, copies of broadcasts each.
    """

    def __init__(self, clock: Clock, options: BusOptions, host: str) -> None:
        self.clock = clock
        self.options = options
        self.host = host
        self.boot = secrets.token_hex(6)
        self.boxes: dict[str, Mailbox] = {}
        self.figures = MailFigures()
        self.handlings = Handlings()
        self.dead_letters = DeadLetters(options.dead_letters)
        self.pending = PendingRequests(options.finished_requests)
        self.limits = TimeLimits()
        self.history = History(options.history_size)
        self.topics = TopicTable()
        self.started_at_s = clock.now_s()
        self.recent = RecentCount(clock.monotonic_s())
        self.sent = 0
        self.is_closed = False
        self.durable: Durable | None = None
        self._series = self.figures.by_agent
        # agent without a runner -> requests that it has taken and not answered yet, and who took them
        self._taken: dict[str, dict[str, Hand | None]] = {}
        self._prefix = f"{host or 'msg'}-{self.boot}-"
        self._blocks = itertools.count(1)
        self._block = ""
        self._suffixes: Iterator[str] = iter(())
        # Straight to the system's where there is nothing between, since it is asked twice for each message.
        is_systems = type(clock) is SystemClock
        self.monotonic_s = time.monotonic if is_systems else clock.monotonic_s
        self.now_s = time.time if is_systems else clock.now_s

    def new_id(self) -> str:
        """Return an id that no other message or request of any process has."""
        # Most of an id is made once for a thousand.
        suffix = next(self._suffixes, None)
        if suffix is None:
            self._block, self._suffixes = f"{self._prefix}{next(self._blocks)}", iter(_SUFFIXES)
            suffix = next(self._suffixes)
        return self._block + suffix

    def open(self, agent: str, capacity: int, overflow: Overflow, mail_scope: str) -> Mailbox:
        """Open the mailbox of an agent; raises as ``PostOffice.open_mailbox``."""
        if self.is_closed:
            raise BusClosed("The bus of this process is closed.", "Make a new one.")
        if type(agent) is not str or not 0 < len(agent) <= 256:
            raise InvalidInput(f"{agent!r} names no agent.", "Give a text of 1 to 256 characters.")
        if agent in self.boxes:
            raise Conflict(f"The mailbox of {agent} is open already.", "Close it first.")
        box = self.boxes[agent] = Mailbox(
            agent,
            capacity=capacity,
            overflow=overflow,
            mail_scope=mail_scope,
            series=self.figures.agent(agent),  # one that comes back under its name is not gone any more
        )
        return box

    def close(self, agent: str) -> list[Message]:
        """Close a mailbox and return what was in it, which goes to the dead letters; safe to repeat."""
        box = self.boxes.pop(agent, None)
        if box is None:
            return []
        self.topics.remove(agent)
        self.figures.close_agent(agent)
        self._taken.pop(agent, None)
        left = box.close(lambda message: self._came_late(agent, message))
        for message in left:
            if self.durable is None or not message.sequence:
                self.lose(message, DeadLetterReason.MAILBOX_CLOSED, f"{agent} stopped before it read it")
        if self.durable is not None:
            self.durable.mailbox_closed(agent)
        return left

    def find(self, agent: str) -> Mailbox | None:
        """Return the mailbox of an agent of this process, None when it has none here."""
        return self.boxes.get(agent)

    def note_answered(self, agent: str, correlation_id: str) -> None:
        """Learn that an agent has sent a message with the correlation id of a request: it has answered that."""
        if (taken := self._taken.get(agent)) is not None:
            taken.pop(correlation_id, None)

    async def receive(self, agent: str, limit_s: float) -> Message:
        """Return the next message of an agent; raises as ``PostOffice.receive``."""
        box = self.boxes.get(agent)
        if box is None:
            raise self.unknown(agent, self.boxes)
        until_s: float | None = None
        hand: Hand | None = None
        while True:
            message = box.take()
            if message is None:
                if self.handlings.slots(agent) is None:
                    box.reader = hand = own_hand(box.loop)
                if until_s is not None:
                    limit_s = max(0.0, until_s - asyncio.get_running_loop().time())
                message = await box.wait(limit_s)
            elif not box.taken & YIELD_EVERY:
                taken = box.taken
                try:
                    await asyncio.sleep(0)
                except asyncio.CancelledError:
                    box.put_back(message, taken)
                    raise
            now_s = self.monotonic_s()
            if message.expires_s is not None and message.expires_s <= now_s:
                self.lose(message, DeadLetterReason.EXPIRED, "nobody read it in time")
                if until_s is None:
                    until_s = asyncio.get_running_loop().time() + limit_s
                continue
            series = box.series[message.message_type]
            series.received += 1
            series.latency.record(now_s - message.sent_at_s)
            if message.correlation_id is not None and not message.is_reply:
                self._note_taken(box, message.correlation_id, hand)
            if message.sequence and self.durable is not None:
                self.durable.handed_out(message)
            return message

    def _note_taken(self, box: Mailbox, correlation_id: str, hand: Hand | None) -> None:
        if self.handlings.slots(box.agent) is not None:
            return
        taken = self._taken.get(box.agent)
        if taken is None:
            taken = self._taken[box.agent] = {}
        taken[correlation_id] = own_hand(box.loop) if hand is None else hand
        if len(taken) > _TAKEN:
            del taken[next(iter(taken))]

    def taken(self, agent: str) -> dict[str, Hand | None]:
        """Return the requests that an agent without a runner has received and not answered, and who took each."""
        return dict(self._taken.get(agent, ()))

    def put(self, box: Mailbox, message: Message) -> None:
        """Put a message into a mailbox; the one that makes room for it becomes a dead letter.

        Raises:
            MailboxFull: it does not fit.
        """
        dropped = box.put(message)
        if dropped is not None:
            self.made_room(dropped, message)

    def made_room(self, dropped: Message, message: Message) -> None:
        """Learn that a LOW message was dropped for another one."""
        self.lose(dropped, DeadLetterReason.DROPPED_LOW, f"made room for {message.id}")

    def is_reply(self, message: Message, *, is_own: bool) -> bool:
        """Give a reply to the request that waits for it; False when it is other mail.

        Args:
            message: with a correlation id.
            is_own: it was sent in this process, whose agents are trusted to answer for one another.
        """
        if self.pending.resolve(message, from_asked_only=not is_own):
            return True
        if message.is_reply and self.pending.has_ended(message.correlation_id or ""):
            self.lose(message, DeadLetterReason.LATE_REPLY, "nobody waits for it any more")
            return True
        return False

    def lose(self, message: Message, reason: DeadLetterReason, detail: str) -> None:
        """Put a message to the dead letters, and end the request that waits for it."""
        self.dead_letters.add(message, reason, detail, self.clock.now_s())
        series = self._series[message.to_agent][message.message_type]
        series.dead += 1
        if reason is DeadLetterReason.DROPPED_LOW:
            series.dropped += 1
            self.figures.events.add("bus_dropped_total", reason.value)
        self.figures.events.add("bus_dead_letters_total", reason.value)
        if message.sequence and self.durable is not None:
            self.durable.lost(message, reason, detail)
        if message.correlation_id and self.pending.is_request(message):
            self.pending.fail(message.correlation_id, error_for(message, reason, detail))

    def _came_late(self, agent: str, message: Message) -> None:
        """A receiver was cancelled while it got a message, and meanwhile the mailbox was closed."""
        if self.durable is None or not message.sequence:  # otherwise it comes again
            self.lose(message, DeadLetterReason.MAILBOX_CLOSED, f"{agent} stopped before it read it")

    def time_out(self, correlation_id: str, limit_s: float) -> None:
        """End a request that got no reply in its time."""
        pending = self.pending.get(correlation_id)
        if pending is None:
            return
        message = pending.message
        self.figures.events.add("bus_request_timeouts_total", message.to_agent)
        self.pending.fail(
            correlation_id,
            RequestTimedOut(
                f"{message.to_agent} did not answer the {message.message_type!r} request of {message.from_agent} "
                f"within {limit_s:g} s.",
                "Give it more time, or look whether the agent is stuck: zejzl deadlocks, zejzl logs --agent.",
                {"to_agent": message.to_agent, "correlation_id": correlation_id, "timeout_s": limit_s},
            ),
        )

    def patience_s(self, message: Message) -> float:
        """Return how long a message may wait for room: until its deadline, at most the default time limit."""
        limit_s = self.options.default_timeout_s
        if message.expires_s is not None:
            limit_s = min(limit_s, max(0.0, message.expires_s - self.monotonic_s()))
        return limit_s

    def has_waited_enough(self, message: Message) -> bool:
        """Tell whether a message has waited for as long as it may, counted from when it was sent."""
        waited_s = self.monotonic_s() - message.sent_at_s
        return waited_s >= self.options.default_timeout_s or self.patience_s(message) <= 0

    def unknown(self, agent: str, known: "dict[str, Mailbox] | set[str]") -> BusError:
        """Return the error that says that an agent is not known, with the names that are."""
        if self.is_closed:
            return BusClosed("The bus of this process is closed.", "Make a new one.")
        return UnknownAgent(
            f"Unknown agent: {agent}",
            "See zejzl agents list.",
            {"to_agent": agent, "available_agents": sorted(known)[:_SHOWN]},
        )
