"""The inboxes of the agents of one process, opened when they are first wanted."""

import asyncio
import hashlib
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from zejzl_ray.bus.inbox import Inbox
from zejzl_ray.clock import Clock
from zejzl_ray.errors import ZejzlError
from zejzl_ray.log import get_logger
from zejzl_ray.store.protocol import Store

OpenStore = Callable[[str], Awaitable[Store]]
_MOST_CHARACTERS: Final = 128  # of a namespace
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

    Attributes:
        on_acknowledged: called with origin -> sequences that are acknowledged durably; set by the durable mail.
    """

    def __init__(self, open_store: OpenStore, clock: Clock) -> None:
        self._open_store = open_store
        self._clock = clock
        self._opened: dict[str, _Opened] = {}
        self._opening: dict[str, asyncio.Task[Inbox]] = {}
        self._closing: dict[str, asyncio.Task[None]] = {}
        self.on_acknowledged: Callable[[Mapping[str, Sequence[int]]], None] = lambda acknowledged: None

    def find(self, agent: str) -> Inbox | None:
        """Return an inbox that is open; one that is not is opened meanwhile."""
        opened = self._opened.get(agent)
        if opened is not None:
            return opened.inbox
        self._begin(agent)
        return None

    async def load(self, agent: str) -> bytes | None:
        """Return the state of an agent that was saved last; None when nothing was.

        Raises:
            StoreLocked: another process still has it open.
            StoreUnavailable: the store cannot be reached.
        """
        return (await self._open(agent)).state

    async def save(self, agent: str, data: bytes) -> None:
        """Save the state of an agent; durable when this returns.

        Raises:
            StaleEpoch: another process runs this agent now.
            StoreUnavailable: the store cannot be reached.
        """
        await (await self._open(agent)).save(data)

    def let_go(self, agent: str) -> None:
        """Write what is under way and close an inbox; safe to repeat. The next one of this agent waits for that."""
        opened = self._opened.pop(agent, None)
        if opened is None:
            return
        task = asyncio.get_running_loop().create_task(_close(opened), name=f"close inbox of {agent}")
        self._closing[agent] = task
        task.add_done_callback(lambda done: self._closing.pop(agent, None))

    async def close(self) -> None:
        """Close all of them; safe to repeat."""
        for task in self._opening.values():
            task.cancel()
        for agent in tuple(self._opened):
            self.let_go(agent)
        await asyncio.gather(*self._closing.values(), return_exceptions=True)

    async def _open(self, agent: str) -> Inbox:
        opened = self._opened.get(agent)
        return opened.inbox if opened is not None else await asyncio.shield(self._begin(agent))

    def _begin(self, agent: str) -> "asyncio.Task[Inbox]":
        task = self._opening.get(agent)
        if task is None:
            task = asyncio.get_running_loop().create_task(
                self._open_one(agent), name=f"open inbox of {agent}"
            )
            self._opening[agent] = task
            task.add_done_callback(lambda done: self._note_opened(agent, done))
        return task

    def _note_opened(self, agent: str, task: "asyncio.Task[Inbox]") -> None:
        self._opening.pop(agent, None)
        if not task.cancelled() and (error := task.exception()) is not None:
            reason = error.message if isinstance(error, ZejzlError) else repr(error)
            log.warning("an inbox could not be opened", agent=agent, reason=reason)

    async def _open_one(self, agent: str) -> Inbox:
        if (closing := self._closing.get(agent)) is not None:
            await asyncio.wait({closing})
        store = await self._open_store(namespace_of(agent))
        try:
            inbox = Inbox(store, agent, self._clock, on_commit=lambda done: self.on_acknowledged(done))
            await inbox.start()
        except BaseException:
            await store.close()
            raise
        self._opened[agent] = _Opened(inbox, store)
        return inbox


async def _close(opened: _Opened) -> None:
    try:
        await opened.inbox.stop()
    finally:
        await opened.store.close()


def namespace_of(agent: str) -> str:
    """Return the namespace of an agent; a long name is shortened to one that is still its own."""
    name = f"agent.{agent}"
    if len(name) > _MOST_CHARACTERS:
        name = f"agent.{agent[:50]}.{hashlib.sha256(agent.encode()).hexdigest()[:32]}"
    return name
