"""Mail that is sent at least once, kept at its sender's host until it is acknowledged or given up."""

from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from typing import Any, Final

from zejzl_ray.bus import codec
from zejzl_ray.bus.codec import MAX_MESSAGE_BYTES
from zejzl_ray.bus.kept_dead_letters import KeptDeadLetter
from zejzl_ray.bus.late_flush import LateFlush
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.outbox_journal import Adding, Group, OutboxJournal
from zejzl_ray.bus.outbox_log import Kept
from zejzl_ray.clock import Clock
from zejzl_ray.commands.group_writer import GroupWriter
from zejzl_ray.errors import BusClosed, MailboxFull, PayloadTooLarge, StaleEpoch, ZejzlError
from zejzl_ray.log import get_logger
from zejzl_ray.store.protocol import Store

MAX_ADDED_BYTES: Final = 16_777_216  # of one call
_GROUP_CALLS: Final = 4096
_log = get_logger("zejzl.bus")


class Outbox:
    """The durable outbox of one host; belongs to one event loop.

    When ``add`` has returned, the message is in the store and stays there until it is settled, also over the death of
    this process. When it has raised, the message is not sent, unless this process dies before the store has answered.
    Messages that are added while a commit runs go together in the next one.

    Args:
        store: a namespace of its own, such as ``outbox.<host>``; nobody else writes there.
        origin: name of the host.
        clock: wall time of dead letters.
        capacity: messages that may be unsettled or on their way into the store.
        capacity_bytes: the same in bytes.
        max_message_bytes: size of one message.
        dead_letters: how many dead letters the store keeps.
        settle_delay_s: how long a settlement waits for a commit to go with, before it gets one of its own. Until it is
            stored, a restart sends the message again, and the receiver's inbox says that it has it.
        on_commit: called with messages that have become durable, in the order of their sequences, before ``add``
            returns; the place to send them from, since it does not depend on whether the caller still waits. Must
            return at once and not raise.
        commit_timeout_s: longest wait for one commit.
        load_timeout_s: longest wait for ``start``.
    """

    def __init__(
        self,
        store: Store,
        origin: str,
        clock: Clock,
        *,
        capacity: int = 100_000,
        capacity_bytes: int = 268_435_456,
        max_message_bytes: int = MAX_MESSAGE_BYTES,
        dead_letters: int = 1000,
        settle_delay_s: float = 0.1,
        on_commit: Callable[[Sequence[Message]], None] = lambda messages: None,
        commit_timeout_s: float = 10.0,
        load_timeout_s: float = 60.0,
    ) -> None:
        self._name = origin
        self._capacity = capacity
        self._capacity_bytes = capacity_bytes
        self._max_message_bytes = max_message_bytes
        self._settle_delay_s = settle_delay_s
        self._journal = OutboxJournal(
            store,
            origin,
            clock,
            on_commit,
            self._plan_flush,
            dead_letters=dead_letters,
            commit_timeout_s=commit_timeout_s,
            load_timeout_s=load_timeout_s,
        )
        self._writer: GroupWriter[Group] = GroupWriter(
            self._journal, max_queue=capacity + _GROUP_CALLS, max_batch=_GROUP_CALLS
        )
        self._timeout_s = 6 * commit_timeout_s
        self._next = 0  # 0 before start
        self._adding = 0
        self._adding_bytes = 0
        self._late = LateFlush(f"outbox of {origin}", self.flush, self._has_work)

    def __len__(self) -> int:
        """Return how many messages are neither settled nor about to be."""
        return len(self._journal.log) - len(self._journal.settled)

    @property
    def origin(self) -> str:
        """Identity of this outbox: (origin, sequence) names one message for ever, also after its store was emptied."""
        return self._journal.log.origin

    @property
    def commits(self) -> int:
        """How many commits this process has made."""
        return self._journal.commits

    @property
    def fault(self) -> str:
        """Why the store was of no use the last time; empty when it was."""
        return self._journal.fault

    @property
    def stored_bytes(self) -> int:
        """About how many bytes the log takes in the store."""
        return self._journal.log.log_bytes

    def totals(self) -> Mapping[str, int]:
        """Return how many messages were settled since the outbox exists, by reason; ``acknowledged`` is one of them."""
        return dict(self._journal.log.totals)

    async def start(self) -> list[Message]:
        """Become the one writer and return what is not settled, oldest first.

        Raises:
            StoreUnavailable: the store cannot be reached in time; safe to call again.
            StoreError: an entry cannot be read; names it. Nothing was changed.
        """
        messages = await self._journal.open()
        self._next = self._journal.log.next_sequence
        return messages

    def add(self, message: Message) -> Coroutine[Any, Any, None]:
        """Give a message its sequence and keep it.

        Raises:
            MailboxFull: the outbox is full; it is an Overloaded.
            NotSerialisable, MessageTooLarge: it cannot be kept.
            StoreUnavailable: the store does not answer; the message is not sent.
            StaleEpoch: another process has taken over this outbox.
            BusClosed: not started, or stopped.
        """
        return self.add_all((message,))  # one coroutine less for each message

    async def add_all(self, messages: Sequence[Message]) -> None:
        """Keep several messages, all or none, as ``add``.

        Raises:
            PayloadTooLarge: more than 16 MiB together.
        """
        adding = self._admit(messages)
        self._adding += len(messages)
        self._adding_bytes += adding.size_bytes
        try:
            await self._submit(adding.join)
        except BaseException:
            adding.is_unwanted = True
            _forget_sequences(messages)
            self._late.plan()  # finds out whether it is stored nevertheless
            raise
        finally:
            self._adding -= len(messages)
            self._adding_bytes -= adding.size_bytes

    def settle(self, sequences: Iterable[int], reason: str = "") -> int:
        """Let go of messages; return how many of them were not settled before. Safe to repeat.

        It is stored with the next commit, or in one of its own after ``settle_delay_s``; a failure is tried again.

        Args:
            sequences: unknown ones are left out.
            reason: empty where the receiver has acknowledged them; a ``DeadLetterReason`` where they are given up.
        """
        settled, log = self._journal.settled, self._journal.log
        before = len(settled)
        for sequence in sequences:
            if sequence not in settled and sequence in log:
                settled[sequence] = reason
        self._plan_flush()
        return len(settled) - before

    def pending(self, agent: str | None = None) -> list[int]:
        """Return the sequences that are neither settled nor about to be, oldest first, of one receiver or of all."""
        settled = self._journal.settled
        return [sequence for sequence in self._journal.log.sequences(agent) if sequence not in settled]

    def encoded(self, sequence: int) -> bytes | None:
        """Return a message as it was kept, its sequence included; None when it is settled."""
        kept = self._journal.log.get(sequence)
        return None if kept is None or sequence in self._journal.settled else kept.encoded

    def message(self, sequence: int) -> Message | None:
        """Return a copy of a message as it was kept; None when it is settled."""
        encoded = self.encoded(sequence)
        return None if encoded is None else codec.decode(encoded)

    def oldest_unsettled(self, agent: str | None = None) -> int:
        """Return the sequence below which everything is settled, durably: what a receiver may forget.

        Args:
            agent: of the messages to this agent only; it may be told to that agent's inbox and to no other. A message
                for an agent that is away holds back the one number for all, but not those of other agents.
        """
        return self._journal.log.oldest(agent)

    async def dead_letters(self, limit: int = 100) -> list[KeptDeadLetter]:
        """Return the newest messages that were given up, oldest first; they outlive this process.

        Raises:
            StoreUnavailable: the store cannot be reached.
        """
        return await self._journal.read_dead_letters(limit)

    async def flush(self) -> None:
        """Store what is settled now.

        Raises:
            StoreUnavailable, StaleEpoch: as for ``add``; the settlement stays to be stored.
        """
        await self._submit(_nothing)
        while self._journal.has_left_over:
            await self._submit(_nothing)

    async def stop(self) -> None:
        """Store what is under way and refuse what comes after; safe to repeat. Never raises because of the store."""
        await self._late.stop(self._timeout_s)
        if self._next:
            try:
                await self.flush()
            except ZejzlError as error:
                _log.warning(
                    "outbox stopped with settlements that are not stored", outbox=self._name, error=str(error)
                )
        self._next = 0
        await self._writer.close(self._closed(), self._timeout_s)

    def _admit(self, messages: Sequence[Message]) -> Adding:
        self._check_open()
        log = self._journal.log
        unsettled, held_bytes = len(self) + self._adding, log.live_bytes + self._adding_bytes
        kept: list[Kept] = []
        size_bytes = 0
        try:
            if unsettled + len(messages) > self._capacity:
                raise self._full(f"{unsettled} messages")
            for message in messages:
                message.sequence = self._next
                self._next += 1
                encoded = codec.encode(message, self._max_message_bytes)
                size_bytes += len(encoded)
                kept.append(Kept(message.sequence, message.to_agent, encoded))
            if size_bytes > MAX_ADDED_BYTES:
                raise PayloadTooLarge(
                    f"{size_bytes} bytes of mail at once; {MAX_ADDED_BYTES} are allowed.", "Split it."
                )
            if held_bytes + size_bytes > self._capacity_bytes:
                raise self._full(f"{held_bytes} bytes of messages")
        except ZejzlError:
            _forget_sequences(messages)
            raise
        return Adding(messages, kept, size_bytes)

    async def _submit(self, decide: Callable[[Group], Any]) -> None:
        self._check_open()
        try:
            await self._writer.submit(decide, None)
        except ZejzlError:
            if self._journal.is_fenced:
                raise self._taken_over() from None
            raise

    def _plan_flush(self) -> None:
        self._late.plan(self._settle_delay_s)

    def _has_work(self) -> bool:
        journal = self._journal
        return bool(self._next) and not journal.is_fenced and (bool(journal.settled) or journal.is_in_doubt)

    def _check_open(self) -> None:
        if self._journal.is_fenced:
            raise self._taken_over()
        if not self._next:
            raise self._closed()

    def _closed(self) -> BusClosed:
        return BusClosed(f"The outbox of {self._name} is not running.", "Start it first.")

    def _taken_over(self) -> StaleEpoch:
        return StaleEpoch(
            f"Another process has taken over the outbox of {self._name}.", "Give each host a name of its own."
        )

    def _full(self, what: str) -> MailboxFull:
        return MailboxFull(
            f"The outbox of {self._name} is full: {what} wait for their receivers.",
            "Send later, or look which agents do not acknowledge: zejzl agents list.",
            {"outbox": self._name},
        )


def _forget_sequences(messages: Sequence[Message]) -> None:
    for message in messages:
        message.sequence = 0


def _nothing(_: Group) -> None:
    """Have a commit made that takes along whatever waits for one."""
