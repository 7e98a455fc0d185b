"""An inbox and its store kept the same; the ``Target`` of its group writer."""

from collections.abc import Callable, Mapping, Sequence
from typing import Final, NoReturn

from zejzl_ray.bus.received import CHUNKS, HEADS, Draft, Received, is_idle, oldest_heard, split_chunk_key
from zejzl_ray.bus.sure_writer import SureWriter
from zejzl_ray.clock import Clock
from zejzl_ray.errors import InvalidInput, StoreError
from zejzl_ray.log import get_logger
from zejzl_ray.store.protocol import Op, Put, Store, Versioned

STATE: Final = "state"
MAX_ORIGINS: Final = 1024
SILENT_S: Final = 7 * 86_400.0  # an outbox that nobody has heard of for so long may be forgotten
_PAGE: Final = 1000
_log = get_logger("zejzl.bus")


class InboxJournal(SureWriter):
    """What an agent has received and saved.

    Args:
        store: the agent's own namespace.
        agent: whose.
        clock: wall time.
        window: of each origin.
        on_commit: called with origin -> sequences that are acknowledged durably now.
        commit_timeout_s: longest wait for one commit.
        load_timeout_s: longest wait for reading everything.

    Attributes:
        windows: by origin.
        state: the agent's state as it is stored.
        new_state: the one to store next; None when there is none.
        commits: how many this process made.
    """

    def __init__(
        self,
        store: Store,
        agent: str,
        clock: Clock,
        window: int,
        on_commit: Callable[[Mapping[str, Sequence[int]]], None],
        *,
        commit_timeout_s: float,
        load_timeout_s: float,
    ) -> None:
        super().__init__(store, clock, commit_timeout_s=commit_timeout_s, load_timeout_s=load_timeout_s)
        self._agent = agent
        self._on_commit = on_commit
        self._forgotten: list[Op] = []
        self.window = window
        self.windows: dict[str, Received] = {}
        self.state: bytes | None = None
        self.new_state: bytes | None = None
        self.commits = 0

    def now_s(self) -> float:
        """Return the wall time."""
        return self._clock.now_s()

    def begin_origin(self, origin: str) -> Received | None:
        """Return a window for an outbox that is not known; None when there are too many.

        Raises:
            InvalidInput: the name cannot be one.
        """
        if not 0 < len(origin) <= 256 or "/" in origin:
            raise InvalidInput(f"{origin!r} names no outbox.", "Give 1 to 256 characters without '/'.")
        now_s = self.now_s()
        if len(self.windows) >= MAX_ORIGINS:
            for silent in oldest_heard(self.windows.items())[: MAX_ORIGINS // 8]:
                if is_idle(self.windows[silent], now_s - SILENT_S):
                    self._forgotten += self.windows.pop(silent).forget()
            if len(self.windows) >= MAX_ORIGINS:
                return None
        window = self.windows[origin] = Received(origin, self.window, now_s)
        return window

    async def open(self) -> None:
        """Become the writer and load everything.

        Raises:
            StoreUnavailable: the store cannot be reached in time; safe to call again.
            StoreError: something stored cannot be read by this version.
        """
        await self._take_epoch()
        self.windows, self.state = await self._read_all(self._read())
        _log.info("inbox loaded", agent=self._agent, epoch=self.epoch, origins=len(self.windows))

    def has_work(self) -> bool:
        """Whether anything is not stored yet, or not known to be."""
        return (
            self.is_in_doubt
            or self.new_state is not None
            or any(window.done for window in self.windows.values())
        )

    def begin(self) -> None:
        """Begin a group; what goes into it is what is there when it is committed."""

    def is_full(self, draft: None) -> bool:
        """Tell that there is always room: a group is a few chunks."""
        return False

    async def commit(self, draft: None) -> None:
        """Store everything that is done with, and the state; without either it costs nothing.

        Raises:
            StoreUnavailable: it may or may not have happened; all of it goes with the next commit again.
            StaleEpoch: nothing happened.
        """
        drafts = [
            (origin, window, each)
            for origin, window in self.windows.items()
            if window.done and (each := window.draft()) is not None
        ]
        forgotten, state = list(self._forgotten), self.new_state
        ops = forgotten + [op for _, _, each in drafts for op in each.ops]
        if state is not None:
            ops.append(Put(STATE, state))
        if not ops:
            return

        def apply() -> None:
            self._apply(drafts, len(forgotten), state)

        await self._commit_surely(ops, apply, apply)

    def _apply(
        self, drafts: Sequence[tuple[str, Received, Draft]], forgotten: int, state: bytes | None
    ) -> None:
        del self._forgotten[:forgotten]
        if state is not None:
            self.state = state
            if self.new_state is state:
                self.new_state = None
        for _, window, draft in drafts:
            window.apply(draft)
        self.commits += 1
        if not drafts:
            return
        try:
            self._on_commit({origin: draft.done for origin, _, draft in drafts})
        except Exception:  # what is stored stays stored, whoever stumbles over it
            _log.exception("news of acknowledged mail were not taken")

    async def _read(self) -> tuple[dict[str, Received], bytes | None]:
        windows: dict[str, Received] = {}
        for key, stored in await self._scan(HEADS):
            origin = key.removeprefix(HEADS)
            windows[origin] = window = Received(origin, self.window, 0.0)
            try:
                window.load_head(stored.value)
            except ValueError:
                self._refuse(key)
        for key, stored in await self._scan(CHUNKS):
            try:
                origin, index = split_chunk_key(key)
                windows[origin].load_chunk(index, stored.value)
            except (ValueError, KeyError):
                self._refuse(key)
        state = await self._store.get(STATE)
        return windows, None if state is None else state.value

    async def _scan(self, prefix: str) -> list[tuple[str, Versioned]]:
        found: list[tuple[str, Versioned]] = []
        while page := await self._store.scan(prefix, after=found[-1][0] if found else "", limit=_PAGE):
            found += page
        return found

    def _refuse(self, key: str) -> NoReturn:
        # Without the reason: it could quote what is stored.
        raise StoreError(
            f"The record {key} of the inbox of {self._agent} cannot be read by this version.",
            "Was it written by a newer version? Run that one, or restore a backup.",
        ) from None
