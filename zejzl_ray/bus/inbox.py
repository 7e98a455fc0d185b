"""What an agent has received of mail that is sent at least once, so that it handles it once."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from typing import Final

from zejzl_ray.bus.inbox_journal import InboxJournal
from zejzl_ray.bus.late_flush import LateFlush
from zejzl_ray.bus.received import Receipt, Received
from zejzl_ray.clock import Clock
from zejzl_ray.commands.group_writer import GroupWriter
from zejzl_ray.errors import BusClosed, InvalidInput, StaleEpoch, ZejzlError
from zejzl_ray.log import get_logger
from zejzl_ray.store.protocol import Store

_MAX_STATE_BYTES: Final = 33_554_432
_GROUP_CALLS: Final = 100_000
_log = get_logger("zejzl.bus")


class Inbox:
    """De-duplication of one agent, durable, and its saved state; belongs to one event loop.

    When ``acknowledge`` has returned, the message is never new again and the state given with it is stored, both in
    one commit: a handler whose only effect is its saved state takes effect exactly once. When it has raised, both stay
    to be stored with the next acknowledgement, so a later state never overtakes the acknowledgement of what is in it.
    Acknowledgements that come while a commit runs go together in the next one.

    Args:
        store: the agent's own namespace, such as ``agent.<name>``; nobody else writes there.
        agent: whose mail.
        clock: wall time, to forget outboxes that are gone.
        window: how far the sequences of one outbox may be apart: one above the oldest that is not settled by so much
            is not taken. Takes an eighth of that in bytes at most.
        on_commit: called with origin -> sequences that are acknowledged durably now; the place to tell the senders
            from. Must return at once and not raise.
        soon_delay_s: how long ``acknowledge_soon`` waits for more to go with the same commit.
        commit_timeout_s: longest wait for one commit.
        load_timeout_s: longest wait for ``start``.
    """

    def __init__(
        self,
        store: Store,
        agent: str,
        clock: Clock,
        *,
        window: int = 1_000_000,
        on_commit: Callable[[Mapping[str, Sequence[int]]], None] = lambda acknowledged: None,
        soon_delay_s: float = 0.0,
        commit_timeout_s: float = 10.0,
        load_timeout_s: float = 60.0,
    ) -> None:
        if window < 1:
            raise InvalidInput(f"The inbox of {agent} has a window of {window}.", "Give 1 or more.")
        self._agent = agent
        self._journal = InboxJournal(
            store,
            agent,
            clock,
            window,
            on_commit,
            commit_timeout_s=commit_timeout_s,
            load_timeout_s=load_timeout_s,
        )
        self._writer: GroupWriter[None] = GroupWriter(
            self._journal, max_queue=_GROUP_CALLS, max_batch=_GROUP_CALLS
        )
        self._late = LateFlush(f"inbox of {agent}", self.flush, self._has_work)
        self._soon_delay_s = soon_delay_s
        self._timeout_s = 6 * commit_timeout_s
        self._is_open = False
        self._soon: asyncio.Task[None] | None = None

    @property
    def state(self) -> bytes | None:
        """The agent's state as it is stored; None when none was saved."""
        return self._journal.state

    @property
    def commits(self) -> int:
        """How many commits this process has made."""
        return self._journal.commits

    @property
    def fault(self) -> str:
        """Why the store was of no use the last time; empty when it was."""
        return self._journal.fault

    async def start(self) -> bytes | None:
        """Become the one writer, load everything and return the agent's saved state.

        An inbox of the same agent in another process cannot acknowledge any more from then on.

        Raises:
            StoreUnavailable: the store cannot be reached in time; safe to call again.
            StoreError: a record cannot be read; names it. Nothing was changed.
        """
        await self._journal.open()
        self._is_open = True
        return self._journal.state

    def is_new(self, origin: str, sequence: int) -> bool:
        """Tell whether a message would go into the mailbox; changes nothing."""
        known = self._journal.windows.get(origin)
        return (known or Received(origin, self._journal.window, 0.0)).look(sequence) is Receipt.NEW

    def accept(self, origin: str, sequence: int) -> Receipt:
        """Take a message that arrives; one that is NEW counts as held from then on.

        Raises:
            BusClosed: not started, or stopped.
            StaleEpoch: the agent is in another process now.
            InvalidInput: no such origin or sequence.
        """
        self._check_open()
        window = self._journal.windows.get(origin)
        if window is None:
            window = self._journal.begin_origin(origin)
            if window is None:
                return Receipt.FULL
        if sequence < 1:
            raise InvalidInput(f"A message of {origin} has the sequence {sequence!r}.", "They start at 1.")
        receipt = window.look(sequence)
        if receipt is Receipt.NEW:
            window.accepted.add(sequence)
        return receipt

    def release(self, origin: str, sequence: int) -> None:
        """Take an acceptance back: the message did not get into the mailbox, or left it unhandled. It is new again."""
        if (window := self._journal.windows.get(origin)) is not None:
            window.accepted.discard(sequence)

    def reject(self, origin: str, sequence: int, reason: str) -> None:
        """Give a message up that was accepted: it is not new again, and its sender hears ``reason``.

        Kept in memory only: after a restart its sender settles it, or sends it again.
        """
        window = self._journal.windows.get(origin)
        if window is not None and not window.is_acknowledged(sequence) and sequence not in window.done:
            window.accepted.discard(sequence)
            window.rejected[sequence] = reason

    def why_rejected(self, origin: str, sequence: int) -> str:
        """Return for what reason a message was given up here; empty when it was not."""
        window = self._journal.windows.get(origin)
        return "" if window is None else window.rejected.get(sequence, "")

    def advance(self, origin: str, oldest_unsettled: int) -> None:
        """Learn from an outbox that everything below is settled; call it before ``accept`` for each batch.

        It must be what ``Outbox.oldest_unsettled`` returned for this agent, or for all; never for another one.
        """
        self._check_open()
        window = self._journal.windows.get(origin) or self._journal.begin_origin(origin)
        if window is not None:
            window.advance(oldest_unsettled)
            window.heard_at_s = self._journal.now_s()

    def held(self) -> int:
        """Return how many messages are accepted and not acknowledged."""
        return sum(len(window.accepted) + len(window.done) for window in self._journal.windows.values())

    async def acknowledge(self, origin: str, sequence: int, *, state: bytes | None = None) -> None:
        """Write down that a message is done with, and the agent's state with it; safe to repeat.

        Args:
            origin: identity of the outbox that it came from.
            sequence: of the message.
            state: what to save in the same commit; None leaves the saved state as it is.

        Raises:
            StoreUnavailable: not known to be stored yet; it is tried again, so nothing need be done. The message is not
                handed out again in this process.
            StaleEpoch: the agent is in another process now, which will handle the message.
            BusClosed: not started, or stopped.
            InvalidInput: it cannot have been accepted, or the state is above 32 MiB.
        """
        if self._finish(origin, sequence, state):
            await self._store()

    def acknowledge_soon(self, origin: str, sequence: int, *, state: bytes | None = None) -> None:
        """Have a message acknowledged as ``acknowledge`` does, without waiting for it; ``on_commit`` says when it is.

        For handlers that go on with the next message: the agent is not slowed down by its store. If the process dies
        before, the message is handled once more. What the store refuses is tried again.

        Raises:
            StaleEpoch, BusClosed, InvalidInput: as for ``acknowledge``.
        """
        if self._finish(origin, sequence, state) and self._soon is None:
            self._soon = asyncio.create_task(self._store_soon(), name=f"acknowledge-{self._agent}")

    async def save(self, state: bytes) -> None:
        """Save the agent's state; raises as ``acknowledge``."""
        self._check_open()
        self._check_state(state)
        self._journal.new_state = state
        await self._store()

    async def flush(self) -> None:
        """Store what earlier calls could not; raises as ``acknowledge``."""
        self._check_open()
        await self._store()

    async def stop(self) -> None:
        """Store what is under way and refuse what comes after; safe to repeat. Never raises because of the store."""
        await self._late.stop(self._timeout_s)
        if self._is_open:
            try:
                await self._store()
            except ZejzlError as error:
                _log.warning(
                    "inbox stopped with work that is not stored", agent=self._agent, error=str(error)
                )
        self._is_open = False
        await self._writer.close(self._closed(), self._timeout_s)
        if self._soon is not None:
            await asyncio.wait({self._soon}, timeout=self._timeout_s)

    def _finish(self, origin: str, sequence: int, state: bytes | None) -> bool:
        self._check_open()
        self._check_state(state)
        window = self._journal.windows.get(origin) or self._journal.begin_origin(origin)
        if window is None:
            raise InvalidInput(f"No message of {origin} was accepted.")
        is_new = window.finish(sequence)
        if state is not None:
            self._journal.new_state = state
        return is_new or state is not None

    async def _store_soon(self) -> None:
        try:
            while self._has_work():
                if self._soon_delay_s:
                    await asyncio.sleep(self._soon_delay_s)
                await self._store()
        except ZejzlError as error:
            _log.warning("acknowledgements wait for the store", agent=self._agent, error=str(error))
        finally:
            self._soon = None

    async def _store(self) -> None:
        try:
            await self._writer.submit(_nothing, None)
        except ZejzlError:
            if self._journal.is_fenced:
                raise self._moved() from None
            self._late.plan()
            raise

    def _has_work(self) -> bool:
        return self._is_open and not self._journal.is_fenced and self._journal.has_work()

    def _check_open(self) -> None:
        if self._journal.is_fenced:
            raise self._moved()
        if not self._is_open:
            raise self._closed()

    def _check_state(self, state: bytes | None) -> None:
        if state is not None and (type(state) is not bytes or len(state) > _MAX_STATE_BYTES):
            raise InvalidInput(
                f"{self._agent} saves what are not bytes, or more than 32 MiB.", "Keep it smaller."
            )

    def _closed(self) -> BusClosed:
        return BusClosed(f"The inbox of {self._agent} is not running.", "Start it first.")

    def _moved(self) -> StaleEpoch:
        return StaleEpoch(f"{self._agent} is in another process now.", "Stop it here.")


def _nothing(_: None) -> None:
    """Have a commit made that takes along whatever waits for one."""
