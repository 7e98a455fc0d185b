"""The sender's end of mail that is sent at least once: kept in the outbox, then sent until it is settled."""

import asyncio
import copy
from collections.abc import Awaitable, Callable, Iterable, Iterator, Mapping, Sequence
from contextlib import suppress
from typing import Final

from zejzl_ray.bus import codec
from zejzl_ray.bus.course import RedeliveryOptions
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.outbox import Outbox
from zejzl_ray.bus.ports import Carrier, Refused
from zejzl_ray.bus.redelivery import Redelivery
from zejzl_ray.clock import Clock
from zejzl_ray.errors import StoreUnavailable, ZejzlError
from zejzl_ray.log import get_logger
from zejzl_ray.store.operations import check_namespace
from zejzl_ray.store.protocol import Store

OpenStore = Callable[[str], Awaitable[Store]]
Arrive = Callable[[str, str, Message], Refused | None]
Advance = Callable[[str, Mapping[str, int]], None]
OUTBOX_PREFIX: Final = "outbox."
"""What the names of outboxes' namespaces begin with."""
_READY_S: Final = 10.0
_RETRY_S: Final = 1.0
_AT_ONCE: Final = 512  # messages sent before the event loop goes on
_HERE: Final = "here"
# What a receiver that did not take a message may take later.
_PASSING: Final = frozenset(
    {
        DeadLetterReason.UNKNOWN_AGENT,
        DeadLetterReason.MAILBOX_FULL,
        DeadLetterReason.MAILBOX_CLOSED,
        DeadLetterReason.UNREACHABLE,
        DeadLetterReason.UNPROVED,
    }
)
_WORDS: Final = {
    DeadLetterReason.EXPIRED: "no receiver took it before its deadline",
    DeadLetterReason.UNREACHABLE: "its receiver was nowhere for too long",
    DeadLetterReason.NOT_ACKNOWLEDGED: "too many processes of its receiver ended before they acknowledged it",
}
log = get_logger("zejzl.bus")


class DurableSender:
    """The outbox of a process, and where each of its messages is.

    Args:
        host: name of this process; names the outbox.
        open_store: opens a namespace of the store.
        clock: source of time.
        options: when to send again.
        arrive: takes a message in this process: (host, origin, message).
        advance: told first (origin, receiver -> the oldest that is not settled for it).

    Raises:
        SettingsInvalid: ``host`` cannot name an outbox.

    Attributes:
        bus: of this process; set before anything else.
        fault: why mail cannot be kept; empty when it can.
    """

    bus: Carrier

    def __init__(
        self,
        host: str,
        open_store: OpenStore,
        clock: Clock,
        options: RedeliveryOptions | None,
        arrive: Arrive,
        advance: Advance,
    ) -> None:
        self._host = host
        self._namespace = check_namespace(f"{OUTBOX_PREFIX}{host}")
        self._open_store = open_store
        self._clock = clock
        self._arrive = arrive
        self._advance = advance
        self._redelivery = Redelivery(options)
        self._outbox: Outbox | None = None
        self._store: Store | None = None
        self._fresh: dict[int, Message] = {}  # just committed, so that nothing has to be decoded
        self._boots: dict[str, str] = {}
        self._ready = asyncio.Event()
        self._is_planned = False
        self.fault = "the outbox is not open yet"

    @property
    def outbox(self) -> Outbox | None:
        """The outbox, once it is open."""
        return self._outbox

    @property
    def origin(self) -> str:
        """Identity of the outbox; empty before it is open."""
        return "" if self._outbox is None else self._outbox.origin

    # --- life --------------------------------------------------------------------------------------------------------

    async def open(self) -> None:
        """Open the outbox and begin to send what is in it; tries again until the store is there."""
        while self._outbox is None:
            try:
                self._store = self._store or await self._open_store(self._namespace)
                outbox = Outbox(self._store, self._host, self._clock, on_commit=self._committed)
                unsettled = await outbox.start()
            except ZejzlError as error:
                if self.fault != error.message:
                    log.warning("the outbox cannot be opened; trying again", reason=error.message)
                self.fault = error.message
                await asyncio.sleep(_RETRY_S)
            else:
                self._outbox, self.fault = outbox, ""
                self._track(unsettled)
                self._ready.set()

    async def close(self) -> None:
        """Store what is settled and let the store go; safe to repeat."""
        if self._outbox is not None:
            await self._outbox.stop()
        if self._store is not None:
            await self._store.close()

    async def send(self, message: Message) -> None:
        """Keep a message, then have it delivered; raises as ``DurableMail.send``."""
        outbox = self._outbox
        if outbox is None:
            try:
                await asyncio.wait_for(self._ready.wait(), _READY_S)
            except TimeoutError:
                raise StoreUnavailable(f"Mail cannot be kept: {self.fault}.", "Try again later.") from None
            outbox = self._outbox
            assert outbox is not None
        kept = copy.copy(message)  # what the sender does with its own from now on changes nothing
        kept.sent_at_s, kept.expires_s = (
            self._clock.now_s(),
            None,
        )  # it may leave this process as it is written now
        await outbox.add(kept)

    # --- sending -----------------------------------------------------------------------------------------------------

    def send_due(self) -> None:
        """Send what is due now, some of it; the rest follows when the event loop has gone round."""
        self._is_planned = False
        outbox = self._outbox
        if outbox is None:
            return
        due = self._redelivery.due(self._clock.monotonic_s(), _AT_ONCE)
        for _, message, _ in self._kept(outbox, list(due.dead)):
            reason = due.dead[message.sequence]
            self.bus.lose(message, reason, _WORDS[reason])
        for agent, sequences in due.send.items():
            if self.bus.is_local(agent):
                self._put(outbox, agent, sequences)
            else:
                self._carry(outbox, agent, sequences)
        if not self._redelivery.has_ready:
            self._fresh.clear()  # the others wait for their receivers
        self._go_on()

    def _committed(self, messages: Sequence[Message]) -> None:
        for message in messages:
            self._fresh[message.sequence] = message
        self._track(messages)

    def _track(self, messages: Sequence[Message]) -> None:
        now_s = self._clock.monotonic_s()
        offset_s = now_s - self._clock.now_s()
        for message in messages:
            deadline_at_s = message.deadline_at_s
            deadline_s = None if deadline_at_s is None else deadline_at_s + offset_s
            self._redelivery.track(message.sequence, message.to_agent, deadline_s, now_s)
        self._go_on()

    def _go_on(self) -> None:
        if not self._is_planned and self._redelivery.has_ready:
            self._is_planned = True
            asyncio.get_running_loop().call_soon(self.send_due)

    def _put(self, outbox: Outbox, agent: str, sequences: Sequence[int]) -> None:
        now_s, here_s = self._clock.now_s(), self._clock.monotonic_s()
        self._advance(outbox.origin, {agent: outbox.oldest_unsettled(agent)})
        taken = []
        for place, message, _ in self._kept(outbox, sequences):
            message.sent_at_s = min(here_s, message.sent_at_s - now_s + here_s)
            message.expires_s = self._redelivery.deadline_of(message.sequence)
            refused = self._arrive(self._host, outbox.origin, message)
            if refused is None:
                taken.append(message.sequence)
            elif refused.reason in _PASSING:
                self._redelivery.refused((message.sequence,), here_s)
                self._redelivery.unsent(sequences[place + 1 :], here_s)
                break
            else:
                self.bus.lose(message, refused.reason, refused.detail)
        self._redelivery.taken(taken, self._host, _HERE, here_s)

    def _carry(self, outbox: Outbox, agent: str, sequences: Sequence[int]) -> None:
        mail = list(self._kept(outbox, sequences))
        host, carried = "", 0
        with suppress(ZejzlError):
            host, carried = self.bus.carry(agent, [(message, encoded) for _, message, encoded in mail])
        self._redelivery.carried([message.sequence for _, message, _ in mail[:carried]], host)
        if carried < len(mail):
            left = [message.sequence for _, message, _ in mail[carried:]]
            self._redelivery.unsent(left, self._clock.monotonic_s())

    def _kept(self, outbox: Outbox, sequences: Sequence[int]) -> Iterator[tuple[int, Message, bytes]]:
        """Yield place, message and bytes of what is still in the outbox: putting one may settle another one."""
        for place, sequence in enumerate(sequences):
            encoded = outbox.encoded(sequence)
            if encoded is not None:
                fresh = self._fresh.pop(sequence, None)
                yield place, fresh or codec.decode(encoded), encoded

    # --- what became of it -------------------------------------------------------------------------------------------

    def delivered(self, host: str, boot: str, messages: Iterable[Message]) -> None:
        """Learn that another process has taken messages."""
        now_s = self._clock.monotonic_s()
        if self._boots.get(host, boot) != boot:
            self._redelivery.lost(host, now_s, but_boot=boot)
        self._boots[host] = boot
        self._redelivery.taken([message.sequence for message in messages], host, boot, now_s)
        self._go_on()

    def refused(self, message: Message, refused: Refused) -> None:
        """Learn that a message was not taken: it comes again, or is a dead letter."""
        if refused.reason in _PASSING:
            self._redelivery.refused((message.sequence,), self._clock.monotonic_s())
        elif self._is_own(message):
            self.bus.lose(message, refused.reason, refused.detail)

    def unsent(self, messages: Iterable[Message]) -> None:
        """Learn that messages may not have reached another process."""
        self._redelivery.unsent([message.sequence for message in messages], self._clock.monotonic_s())

    def host_gone(self, host: str) -> None:
        """Learn that another process is gone with what it held."""
        self._boots.pop(host, None)
        self._redelivery.lost(host, self._clock.monotonic_s())
        self._go_on()

    def settled_at(self, host: str, sequences: Iterable[int]) -> None:
        """Learn that messages are acknowledged in a process; what is not with it is left out: it is sent again."""
        self.settle(self._redelivery.with_host(sequences, host))

    def rejected_at(self, host: str, sequence: int, reason: DeadLetterReason, detail: str) -> None:
        """Learn that a message was given up in a process."""
        if self._outbox is not None:
            for _, message, _ in self._kept(self._outbox, self._redelivery.with_host((sequence,), host)):
                self.bus.lose(message, reason, detail)

    def welcome(self, host: str, sequences: Iterable[int]) -> None:
        """Learn that messages may come (again): a process has let go of them unhandled, or takes them from now on.

        Those that did not go to this process last are left out: it does not know.
        """
        if host != self._host:
            sequences = self._redelivery.sent_last_to(sequences, host)
        self._redelivery.welcome(sequences, self._clock.monotonic_s())
        self._go_on()

    def settle(self, sequences: Sequence[int], reason: str = "") -> None:
        """Let go of messages: acknowledged, or given up for a reason."""
        assert self._outbox is not None, "nothing is sent before it is open"
        self._outbox.settle(sequences, reason)
        self._redelivery.settle(sequences)
        self._go_on()

    def lost(self, message: Message, reason: DeadLetterReason) -> None:
        """Settle a message of the outbox that became a dead letter."""
        if self._is_own(message):
            self.settle((message.sequence,), reason.value)

    def oldest(self, messages: Iterable[Message]) -> dict[str, int]:
        """Return receiver -> oldest sequence that is not settled, for the receivers of a batch."""
        outbox = self._outbox
        if outbox is None:
            return {}
        agents = {message.to_agent for message in messages if message.sequence}
        return {agent: outbox.oldest_unsettled(agent) for agent in agents}

    def _is_own(self, message: Message) -> bool:
        """Whether it is of this outbox and not settled; another outbox may have used the same number."""
        kept = None if self._outbox is None else self._outbox.message(message.sequence)
        return kept is not None and kept.id == message.id and kept.from_agent == message.from_agent
