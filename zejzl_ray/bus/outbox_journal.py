"""An outbox and its store kept the same; the ``Target`` of its group writer."""

import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

from zejzl_ray.bus.kept_dead_letters import LOG as DEAD_LETTERS
from zejzl_ray.bus.kept_dead_letters import WITHDRAWN, KeptDeadLetter, count_dead, is_dead, read_dead_letter
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.outbox_log import LOG, Change, Kept, OutboxLog
from zejzl_ray.bus.sure_writer import SureWriter
from zejzl_ray.clock import Clock
from zejzl_ray.log import get_logger
from zejzl_ray.store.image import era_of
from zejzl_ray.store.protocol import Store

MAX_GROUP_BYTES: Final = 4_194_304
MAX_DEAD_BYTES: Final = 8_388_608  # of the dead letters that one commit writes, and one more
SEQUENCES_AN_ERA: Final = (
    2**24
)  # more than an outbox sends in a minute, so what it sends never reaches the next era
_FIRST_PAGE: Final = 16  # entries are of any size: pages grow while they are small
_LARGEST_PAGE: Final = 1000
_PAGE_BYTES: Final = 1_048_576
_log = get_logger("zejzl.bus")


@dataclass(slots=True, eq=False)
class Adding:
    """Messages that one caller wants kept, all or none.

    Attributes:
        is_unwanted: the caller was told that it failed, or has gone.
    """

    messages: Sequence[Message]
    kept: list[Kept]
    size_bytes: int
    is_unwanted: bool = False

    def join(self, group: "Group") -> None:
        """Go with the next commit."""
        group.adding.append(self)
        group.size_bytes += self.size_bytes


@dataclass(slots=True)
class Group:
    """What goes into the store together."""

    adding: list[Adding] = field(default_factory=list)
    size_bytes: int = 0


class OutboxJournal(SureWriter):
    """What an outbox has committed.

    Args:
        store: the namespace of this outbox alone.
        name: whose outbox it is.
        clock: wall time of dead letters.
        on_commit: called with new messages that are durable, in order; must return at once and not raise.
        on_withdrawn: called when a message that nobody wants any more waits for being settled.
        dead_letters: how many are kept.
        commit_timeout_s: longest wait for one commit.
        load_timeout_s: longest wait for reading everything.

    Attributes:
        log: what is committed.
        settled: sequence -> reason, of messages whose settlement is not committed yet.
        has_left_over: the last commit could not take everything that was settled.
        commits: how many this process made.
    """

    def __init__(
        self,
        store: Store,
        name: str,
        clock: Clock,
        on_commit: Callable[[Sequence[Message]], None],
        on_withdrawn: Callable[[], None],
        *,
        dead_letters: int,
        commit_timeout_s: float,
        load_timeout_s: float,
    ) -> None:
        super().__init__(store, clock, commit_timeout_s=commit_timeout_s, load_timeout_s=load_timeout_s)
        self._name = name
        self._on_commit = on_commit
        self._on_withdrawn = on_withdrawn
        self._dead_letters = dead_letters
        self.log = OutboxLog(name, name)
        self.settled: dict[int, str] = {}
        self.has_left_over = False
        self.commits = 0

    async def open(self) -> list[Message]:
        """Become the writer, load everything and return what is not settled, oldest first.

        Raises:
            StoreUnavailable: the store cannot be reached in time; safe to call again.
            StoreError: something stored cannot be read by this version.
        """
        await self._take_epoch()
        self.log, messages = await self._read_all(self._read())
        # A back-up that was restored knows less than receivers may: what was sent after it must not be taken for what
        # is sent from now on.
        self.log.next_sequence = max(self.log.next_sequence, era_of(self.epoch) * SEQUENCES_AN_ERA)
        _log.info("outbox loaded", outbox=self.log.origin, epoch=self.epoch, unsettled=len(messages))
        return messages

    async def read_dead_letters(self, limit: int) -> list[KeptDeadLetter]:
        """Return the newest dead letters, oldest first."""
        first = max(0, count_dead(self.log.totals) - limit)
        entries = await self._store.read_log(DEAD_LETTERS, after=first, limit=limit)
        return [read_dead_letter(entry.index, entry.value) for entry in entries]

    def begin(self) -> Group:
        """Return an empty group."""
        return Group()

    def is_full(self, draft: Group) -> bool:
        """Tell whether the group takes no more messages."""
        return draft.size_bytes >= MAX_GROUP_BYTES

    async def commit(self, draft: Group) -> None:
        """Store a group and what was settled meanwhile; without either it costs nothing.

        Raises:
            StoreUnavailable: it may or may not have happened; ``prepare`` finds out, and withdraws the messages.
            StaleEpoch: nothing happened.
        """
        group = [adding for adding in draft.adding if not adding.is_unwanted]
        added = [kept for adding in group for kept in adding.kept]
        change = self.log.draft(added, self._take_settled(), self._clock.now_s(), self._dead_letters)
        if change is None:
            return
        await self._commit_surely(
            change.ops, lambda: self._apply(change, group), lambda: self._apply_late(change, added)
        )

    def _take_settled(self) -> Mapping[int, str]:
        taken: dict[int, str] = {}
        dead_bytes = 0
        self.has_left_over = False
        for sequence, reason in self.settled.items():
            if is_dead(reason) and (kept := self.log.get(sequence)) is not None:
                if dead_bytes >= MAX_DEAD_BYTES:
                    self.has_left_over = True
                    break
                dead_bytes += len(kept.encoded)
            taken[sequence] = reason
        return taken

    def _apply(self, change: Change, group: Sequence[Adding]) -> None:
        self._take_over(change)
        wanted: list[Message] = []
        for adding in group:
            if adding.is_unwanted:
                self._withdraw(adding.kept)
            else:
                wanted += adding.messages
        if not wanted:
            return
        try:
            self._on_commit(wanted)
        except Exception:  # they are kept, whoever stumbles over them
            _log.exception("news of kept mail were not taken")

    def _apply_late(self, change: Change, added: Sequence[Kept]) -> None:
        self._take_over(change)
        self._withdraw(added)

    def _take_over(self, change: Change) -> None:
        self.log.apply(change)
        self.commits += 1
        for sequence in change.settled:
            self.settled.pop(sequence, None)

    def _withdraw(self, added: Sequence[Kept]) -> None:
        for kept in added:
            self.settled[kept.sequence] = WITHDRAWN
        self._on_withdrawn()

    async def _read(self) -> tuple[OutboxLog, list[Message]]:
        # A store that was emptied counts from 1 again: a name of its own keeps receivers from taking that for old mail.
        log = OutboxLog(self._name, f"{self._name}~{secrets.token_hex(5)}")
        after, limit = 0, _FIRST_PAGE
        while page := await self._store.read_log(LOG, after=after, limit=limit):
            for entry in page:
                log.load(entry.index, entry.value)
            after = page[-1].index
            if sum(len(entry.value) for entry in page) < _PAGE_BYTES:
                limit = min(limit * 2, _LARGEST_PAGE)
        return log, log.loaded()
