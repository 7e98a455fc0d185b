"""The inboxes of the agents of one process, opened when they are first wanted."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from zejzl_ray.bus.inbox import Inbox
from zejzl_ray.clock import Clock
from zejzl_ray.errors import BusClosed, ZejzlError
from zejzl_ray.ids import NAME_REGEX
from zejzl_ray.log import get_logger
from zejzl_ray.store.protocol import Store

OpenStore = Callable[[str], Awaitable[Store]]
_RETRY_S: Final = 0.5  # one that could not be opened is not tried again before
log = get_logger("zejzl.bus")


@dataclass(slots=True)
class _Opened:
    inbox: Inbox
    store: Store


class Inboxes:
    """Inboxes by agent, which keep the agents' saved states too: state and acknowledgement can be one commit.

    An agent that moves to another process finds both there. Whoever opened them last writes; a process that was thought
    dead and is not is refused from then on.

    Args:
        open_store: opens a namespace of the services' store.
        clock: source of time.
        ack_delay_s: how long an acknowledgement waits for more to go with the same commit.

    Attributes:
        on_acknowledged: called with origin -> sequences that are acknowledged durably; set by the durable mail.
        on_opened: called with the agent whose inbox is open now; the same.
    """

    def __init__(self, open_store: OpenStore, clock: Clock, *, ack_delay_s: float = 0.005) -> None:
        self._open_store = open_store
        self._clock = clock
        self._ack_delay_s = ack_delay_s
        self._opened: dict[str, _Opened] = {}
        self._opening: dict[str, asyncio.Task[Inbox]] = {}
        self._closing: dict[str, asyncio.Task[None]] = {}
        self._not_before_s: dict[str, float] = {}
        self.on_acknowledged: Callable[[Mapping[str, Sequence[int]]], None] = lambda acknowledged: None
        self.on_opened: Callable[[str], None] = lambda agent: None

    def peek(self, agent: str) -> Inbox | None:
        """Return an inbox that is open."""
        opened = self._opened.get(agent)
        return None if opened is None else opened.inbox

    def find(self, agent: str) -> Inbox | None:
        """Return an inbox that is open; one that is not is opened meanwhile, so its agent has to be in this process."""
        opened = self._opened.get(agent)
        if opened is not None:
            return opened.inbox
        if self._clock.monotonic_s() >= self._not_before_s.get(agent, 0.0):
            self._begin(agent)
        return None

    async def load(self, agent: str) -> bytes | None:
        """Return the state of an agent that was saved last; None when nothing was.

        Raises:
            StoreLocked: another process still has it open.
            StoreUnavailable: the store cannot be reached.
        """
        inbox = await self._open(agent)
        await inbox.flush()  # an agent that is started again here may have acknowledged something just now
        return inbox.state

    async def save(self, agent: str, data: bytes) -> None:
        """Save the state of an agent; durable when this returns.

        Raises:
            StaleEpoch: another process runs this agent now.
            StoreUnavailable: the store cannot be reached.
        """
        await (await self._open(agent)).save(data)

    def let_go(self, agent: str) -> None:
        """Write what is under way and close an inbox; safe to repeat. The next one of this agent waits for that."""
        self._not_before_s.pop(agent, None)
        if (opening := self._opening.pop(agent, None)) is not None:
            opening.cancel()
            self._close_soon(agent, _end(opening))
        if (opened := self._opened.pop(agent, None)) is not None:
            self._close_soon(agent, _close(opened))

    async def close(self) -> None:
        """Close all of them; safe to repeat."""
        for agent in (*self._opened, *self._opening):
            self.let_go(agent)
        await asyncio.gather(*self._closing.values(), return_exceptions=True)

    async def _open(self, agent: str) -> Inbox:
        opened = self._opened.get(agent)
        if opened is not None:
            return opened.inbox
        opening = self._begin(agent)
        try:
            return await asyncio.shield(opening)
        except asyncio.CancelledError:
            if not opening.cancelled() or _is_being_cancelled():
                raise
            raise BusClosed(f"The inbox of {agent} was closed meanwhile.", "Start the agent again.") from None

    def _begin(self, agent: str) -> "asyncio.Task[Inbox]":
        task = self._opening.get(agent)
        if task is None:
            task = asyncio.get_running_loop().create_task(
                self._open_one(agent, self._closing.get(agent)), name=f"open inbox of {agent}"
            )
            self._opening[agent] = task
            task.add_done_callback(lambda done: self._note_opened(agent, done))
        return task

    def _note_opened(self, agent: str, task: "asyncio.Task[Inbox]") -> None:
        if self._opening.get(agent) is task:
            del self._opening[agent]
        if not task.cancelled() and (error := task.exception()) is not None:
            self._not_before_s[agent] = self._clock.monotonic_s() + _RETRY_S
            reason = error.message if isinstance(error, ZejzlError) else repr(error)
            log.warning("an inbox could not be opened", agent=agent, reason=reason)

    async def _open_one(self, agent: str, closing: "asyncio.Task[None] | None") -> Inbox:
        if closing is not None:
            await asyncio.wait({closing})
        store = await self._open_store(namespace_of(agent))
        try:
            inbox = Inbox(
                store, agent, self._clock, on_commit=self._acknowledged, soon_delay_s=self._ack_delay_s
            )
            await inbox.start()
        except BaseException:
            await store.close()
            raise
        self._not_before_s.pop(agent, None)
        self._opened[agent] = _Opened(inbox, store)
        self.on_opened(agent)
        return inbox

    def _acknowledged(self, done: Mapping[str, Sequence[int]]) -> None:
        self.on_acknowledged(done)

    def _close_soon(self, agent: str, work: Awaitable[None]) -> None:
        before = self._closing.get(agent)
        task = asyncio.get_running_loop().create_task(_after(before, work), name=f"close inbox of {agent}")
        self._closing[agent] = task
        task.add_done_callback(lambda done: self._note_closed(agent, done))

    def _note_closed(self, agent: str, task: "asyncio.Task[None]") -> None:
        if self._closing.get(agent) is task:
            del self._closing[agent]
        if not task.cancelled() and (error := task.exception()) is not None:
            log.error("an inbox was not closed properly", agent=agent, exc_info=error)


def _is_being_cancelled() -> bool:
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


async def _after(before: "asyncio.Task[None] | None", work: Awaitable[None]) -> None:
    if before is not None:
        await asyncio.wait({before})
    await work


async def _end(opening: "asyncio.Task[Inbox]") -> None:
    await asyncio.wait({opening})


async def _close(opened: _Opened) -> None:
    try:
        await opened.inbox.stop()
    finally:
        await opened.store.close()


def namespace_of(agent: str) -> str:
    """Return the namespace of an agent; a name that cannot be one is stood for by its hash, and what of it can be."""
    name = f"agent.{agent}"
    if NAME_REGEX.match(name):
        return name
    readable = "".join(letter if letter.isascii() and letter.isalnum() else "_" for letter in agent[:50])
    return f"agent-{hashlib.sha256(agent.encode()).hexdigest()[:32]}.{readable}"
