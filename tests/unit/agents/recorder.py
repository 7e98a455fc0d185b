"""Two agents for the tests of this folder."""

import asyncio
from typing import Any

from pydantic import JsonValue

from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.handlers import handles
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import (
    Forbidden,
)


class Recorder(Agent):
    """Writes down what it gets; can be held up."""

    subscriptions = ("news.>",)
    capabilities = ("recording",)
    drain_timeout_s = 0.3

    def __init__(self) -> None:
        self.events: list[str] = []
        self.gate = asyncio.Event()
        self.started = asyncio.Event()

    async def on_start(self) -> None:
        self.events.append("start")

    async def on_stop(self) -> None:
        self.events.append("stop")

    async def on_message(self, message: Message) -> dict[str, Any]:
        self.events.append(str(message.content.get("n", message.message_type)))
        return {}

    @handles("held")
    async def held(self, content: dict[str, Any]) -> dict[str, Any]:
        self.started.set()
        try:
            await self.gate.wait()
        except asyncio.CancelledError:
            self.events.append("cancelled")
            raise
        self.events.append(f"held {content.get('n', '')}".strip())
        return {"done": True}

    @handles("raise")
    async def explode(self, message: Message) -> None:
        raise ValueError("the password is hunter2")

    @handles("forbid")
    async def forbid(self, message: Message) -> None:
        raise Forbidden("not this one", "Ask for another.")

    @handles("fatal")
    async def fatally(self, message: Message) -> None:
        raise MemoryError

    @handles("bad reply")
    async def bad_reply(self, message: Message) -> Any:
        return [1, 2]


class Counter(Agent):
    """Counts, and keeps its count."""

    def __init__(self) -> None:
        self.count = 0

    @handles("count")
    async def add(self, content: dict[str, Any]) -> dict[str, int]:
        self.count += 1
        if content.get("fails"):
            raise ValueError("x")
        return {"count": self.count}

    def save_state(self) -> JsonValue:
        return {"count": self.count}

    def load_state(self, state: JsonValue) -> None:
        assert isinstance(state, dict)
        count = state["count"]
        assert isinstance(count, int)
        self.count = count
