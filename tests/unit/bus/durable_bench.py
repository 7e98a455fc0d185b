"""Stores that fail on demand, and mail for them."""

import asyncio
from collections.abc import Sequence
from typing import Any

from zejzl_ray.bus.inbox import Inbox
from zejzl_ray.bus.message import Guarantee, Message
from zejzl_ray.bus.outbox import Outbox
from zejzl_ray.errors import StoreError, StoreUnavailable
from zejzl_ray.store import MemoryState, MemoryStore
from zejzl_ray.testing import ManualClock


class FaultyStore(MemoryStore):
    """A store that loses commits before or after they are applied, refuses them, or holds them for ``gate``."""

    def __init__(self, state: MemoryState, clock: ManualClock) -> None:
        super().__init__(clock=clock, state=state)
        self.lose = ""
        self.gate: asyncio.Event | None = None
        self.commits: list[Sequence[Any]] = []

    async def commit(self, *args: Any, **kwargs: Any) -> None:
        self.commits.append(args[0])
        if self.gate is not None:
            await self.gate.wait()
        if self.lose == "before":
            raise StoreUnavailable("lost before")
        if self.lose == "refused":
            raise StoreError("the disk is no disk")
        await super().commit(*args, **kwargs)
        if self.lose == "after":
            raise StoreUnavailable("lost after")


class Bench:
    """One host's outbox and one agent's inbox; ``restart_*`` drops the object, as a crash does."""

    def __init__(self, **options: Any) -> None:
        self.clock = ManualClock()
        self.options = options
        self.out_state, self.in_state = MemoryState(), MemoryState()
        self.committed: list[Message] = []
        self.acknowledged: list[tuple[str, int]] = []
        self.new_outbox()
        self.new_inbox()

    def new_outbox(self) -> Outbox:
        self.out_store = FaultyStore(self.out_state, self.clock)
        self.outbox = Outbox(
            self.out_store,
            "h1",
            self.clock,
            on_commit=self.committed.extend,
            **{"commit_timeout_s": 0.05} | self.options,
        )
        return self.outbox

    def new_inbox(self, **options: Any) -> Inbox:
        self.in_store = FaultyStore(self.in_state, self.clock)
        self.inbox = Inbox(
            self.in_store,
            "reader",
            self.clock,
            on_commit=lambda news: self.acknowledged.extend((o, s) for o, each in news.items() for s in each),
            **{"commit_timeout_s": 0.05} | options,
        )
        return self.inbox


def mail(number: int = 0, to: str = "reader", **fields: Any) -> Message:
    return Message(
        from_agent="writer",
        to_agent=to,
        message_type="task",
        content={"number": number},
        id=f"m{number}",
        guarantee=Guarantee.AT_LEAST_ONCE,
        **fields,
    )


def numbers(messages: Sequence[Message]) -> list[int]:
    return [message.content["number"] for message in messages]
