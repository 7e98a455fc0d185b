"""The receiver's end of mail that is sent at least once: taken once, and out until it is acknowledged."""

from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from functools import partial
from typing import Final

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.inbox import Inbox
from zejzl_ray.bus.inboxes import Inboxes
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.order_gate import OrderGate
from zejzl_ray.bus.ports import Carrier, Refused
from zejzl_ray.bus.received import Receipt
from zejzl_ray.bus.unacknowledged import AckOptions, Unacknowledged
from zejzl_ray.clock import Clock
from zejzl_ray.errors import BusError, ZejzlError

_REASONS: Final = {reason.value: reason for reason in DeadLetterReason}


class _Held:
    """A message that this process has taken and nobody has acknowledged."""

    __slots__ = ("agent", "host", "is_in_box", "message", "origin", "sequence")

    def __init__(self, message: Message, origin: str, host: str) -> None:
        self.message = message
        self.agent = message.to_agent
        self.sequence = message.sequence
        self.origin = origin
        self.host = host
        self.is_in_box = True


class DurableReceiver:
    """What the agents of a process have been sent at least once, and what became of it.

    Args:
        inboxes: of these agents.
        clock: source of time.
        options: when to hand out again.

    Attributes:
        bus: of this process; set before anything else.
        on_settled: told (origin, sequences) of what is acknowledged, durably.
        on_rejected: told (host, origin, sequence, reason, detail) of what is given up.
        on_welcome: told (host, origin, sequences) of what may come (again).
    """

    bus: Carrier
    on_settled: Callable[[str, Sequence[int]], None]
    on_rejected: Callable[[str, str, int, DeadLetterReason, str], None]
    on_welcome: Callable[[str, str, Sequence[int]], None]

    def __init__(self, inboxes: Inboxes, clock: Clock, options: AckOptions | None) -> None:
        self._inboxes = inboxes
        self._clock = clock
        self._options = options or AckOptions()
        # By the message's own identity: ids are the senders' to choose, and two outboxes may use the same number.
        self._held: dict[int, _Held] = {}
        self._out: dict[str, Unacknowledged] = {}
        self._gate = OrderGate()
        # agent -> what came before its inbox was open: (host, origin) -> the oldest sequence
        self._too_early: dict[str, dict[tuple[str, str], int]] = {}
        inboxes.on_acknowledged = self._acknowledged
        inboxes.on_opened = self._opened

    def __len__(self) -> int:
        """Return how many messages are in mailboxes here, or out of them and not acknowledged."""
        return len(self._held)

    # --- in ----------------------------------------------------------------------------------------------------------

    def advance(self, origin: str, oldest: Mapping[str, int]) -> None:
        """Learn from an outbox that everything below is settled: receiver -> sequence; before ``arrived``."""
        for agent, sequence in oldest.items():
            if (inbox := self._inboxes.peek(agent)) is not None:
                with suppress(ZejzlError):  # the agent is somewhere else by now
                    inbox.advance(origin, sequence)

    def arrived(self, host: str, origin: str, message: Message) -> Refused | None:
        """Take a message of an outbox: put it into its mailbox unless it was seen; return why not."""
        agent, sequence = message.to_agent, message.sequence
        if not self.bus.is_local(agent):
            why = f"{agent} has no mailbox there"
            return self._comes_again(origin, message, DeadLetterReason.UNKNOWN_AGENT, why)
        inbox = self._inboxes.find(agent)
        if inbox is None:
            why = "its inbox is being opened"
            early = self._too_early.setdefault(agent, {})
            early[host, origin] = min(sequence, early.get((host, origin), sequence))
            return self._comes_again(origin, message, DeadLetterReason.MAILBOX_FULL, why)
        try:
            receipt = inbox.accept(origin, sequence)
        except ZejzlError as error:  # the agent is somewhere else by now
            return self._comes_again(origin, message, DeadLetterReason.MAILBOX_CLOSED, error.message)
        if receipt is Receipt.NEW:
            return self._put(inbox, host, origin, message)
        if receipt is Receipt.ACKNOWLEDGED:
            self.on_settled(origin, (sequence,))
        elif receipt is Receipt.REJECTED:
            reason, _, detail = inbox.why_rejected(origin, sequence).partition(": ")
            return Refused(message.id, _REASONS[reason], detail)
        elif receipt is Receipt.FULL:
            why = "too much of this sender is not settled"
            return self._comes_again(origin, message, DeadLetterReason.MAILBOX_FULL, why)
        return None

    def _put(self, inbox: Inbox, host: str, origin: str, message: Message) -> Refused | None:
        sequence = message.sequence
        if not self._gate.lets_in(origin, message.to_agent, sequence, self._clock.monotonic_s()):
            why = "older mail of the same sender comes first"
        elif message.expires_s is not None and message.expires_s <= self._clock.monotonic_s():
            inbox.release(origin, sequence)
            return Refused(message.id, DeadLetterReason.EXPIRED, "its deadline passed under way")
        else:
            self._held[id(message)] = _Held(message, origin, host)
            try:
                self.bus.put(message)
            except BusError as error:
                del self._held[id(message)]
                why = error.message
            else:
                return None
        inbox.release(origin, sequence)
        return self._comes_again(origin, message, DeadLetterReason.MAILBOX_FULL, why)

    def _comes_again(self, origin: str, message: Message, reason: DeadLetterReason, why: str) -> Refused:
        self._gate.close(origin, message.to_agent, message.sequence, self._clock.monotonic_s())
        return Refused(message.id, reason, why)

    # --- out ---------------------------------------------------------------------------------------------------------

    def handed_out(self, message: Message) -> None:
        """Learn that a message leaves its mailbox."""
        held = self._held.get(id(message))
        if held is None:
            return
        held.is_in_box = False
        out = self._out.get(held.agent)
        if out is None:
            out = self._out[held.agent] = Unacknowledged(self._options)
        out.handed_out(held.origin, message, self._clock.monotonic_s())

    async def ack(self, message: Message, state: bytes | None) -> None:
        """Have it written down that a message is done with, and the agent's state; raises as ``DurableMail.ack``."""
        held = self._held.get(id(message))
        inbox = self._inboxes.peek(message.to_agent if held is None else held.agent)
        if inbox is None:
            return
        if held is None:
            if state is not None:  # what was done is done
                await inbox.save(state)
            return
        inbox.acknowledge_soon(held.origin, held.sequence, state=state)
        self._forget(held)

    def nack(self, message: Message, reason: str) -> None:
        """Let a message come again, a limited number of times."""
        held = self._held.get(id(message))
        if held is not None and (out := self._out.get(held.agent)) is not None:
            out.nacked(held.origin, held.sequence, reason, self._clock.monotonic_s())

    def lost(self, message: Message, reason: DeadLetterReason, detail: str) -> bool:
        """Give a message up that is here, and have its outbox told; False when it is not here."""
        held = self._held.get(id(message))
        if held is None:
            return False
        self._forget(held)
        if (inbox := self._inboxes.peek(held.agent)) is not None:
            inbox.reject(held.origin, held.sequence, f"{reason.value}: {detail}")
        self.on_rejected(held.host, held.origin, held.sequence, reason, detail)
        return True

    def mailbox_closed(self, agent: str) -> None:
        """Forget what was in a mailbox, or was not acknowledged; the outboxes are told that it has to come again."""
        released: dict[tuple[str, str], list[int]] = {}
        for key, held in tuple(self._held.items()):
            if held.agent == agent:
                del self._held[key]
                released.setdefault((held.host, held.origin), []).append(held.sequence)
        self._out.pop(agent, None)
        self._too_early.pop(agent, None)
        self._inboxes.let_go(agent)
        for (host, origin), sequences in released.items():
            self.on_welcome(host, origin, sequences)

    def hand_out_due(self) -> None:
        """Put what was given back, or forgotten by its handler, into the mailboxes again, or give it up."""
        now_s = self._clock.monotonic_s()
        for agent, out in tuple(self._out.items()):
            next_s = out.next_at_s()
            if next_s is None or next_s > now_s:
                continue
            busy = {(held.origin, held.sequence) for held in self._at_work(agent)}
            due = out.due(now_s, partial(_is_among, busy))
            for message in due.again:
                self._put_again(out, self._held[id(message)], now_s)
            for message, reason, detail in due.given_up:
                self.bus.lose(message, reason, detail)

    def _put_again(self, out: Unacknowledged, held: _Held, now_s: float) -> None:
        held.is_in_box = True
        try:
            self.bus.put(held.message)
        except BusError as error:
            held.is_in_box = False
            out.nacked(held.origin, held.sequence, error.message, now_s)

    def _at_work(self, agent: str) -> list[_Held]:
        """What is being handled, and what waits in the mailbox once more."""
        handled = [self._held.get(id(each.message)) for each in self.bus.handlings.of(agent)]
        waiting = [held for held in self._held.values() if held.is_in_box and held.agent == agent]
        return [*waiting, *(held for held in handled if held is not None)]

    def _forget(self, held: _Held) -> None:
        self._held.pop(id(held.message), None)
        if (out := self._out.get(held.agent)) is not None:
            out.acknowledged(held.origin, held.sequence)

    def _opened(self, agent: str) -> None:
        for (host, origin), sequence in self._too_early.pop(agent, {}).items():
            self.on_welcome(host, origin, (sequence,))

    def _acknowledged(self, acknowledged: Mapping[str, Sequence[int]]) -> None:
        for origin, sequences in acknowledged.items():
            self.on_settled(origin, sequences)


def _is_among(busy: set[tuple[str, int]], origin: str, sequence: int) -> bool:
    return (origin, sequence) in busy
