"""Agents that talk to each other in every way that the bus has, at a steady rate, for as long as they run."""

import asyncio
from typing import Any, Final

from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.handlers import handles
from zejzl_ray.bus.message import HIGH, LOW, NORMAL, Guarantee, Message
from zejzl_ray.errors import ZejzlError

TOPIC: Final = "soak.news"
_PRIORITIES: Final = (HIGH, NORMAL, NORMAL, LOW)
_TEXT: Final = "x" * 80


class Talker(Agent):
    """Talks to a neighbour of its process and to one of another process.

    Each beat of ``beat_s`` seconds it sends ``burst`` messages to both; every tenth beat it asks both, publishes, and
    sends one message at least once. Settings: ``near``, ``far``, ``beat_s``, ``burst``.

    Its metrics count ``sent{kind}``, ``got{kind}`` and ``refused{error}``.
    """

    concurrency = 4
    subscriptions = (f"{TOPIC}.*",)

    async def on_start(self) -> None:
        """Wait for the word to talk."""
        self._number = 0
        self._talking: asyncio.Task[None] | None = None

    async def on_stop(self) -> None:
        """Stop talking."""
        if self._talking is not None:
            self._talking.cancel()
            await asyncio.wait([self._talking], timeout=2)

    @handles("hello")
    async def on_hello(self, content: dict[str, Any]) -> None:
        """Nothing: somebody knows the way."""

    @handles("talk")
    async def on_talk(self, content: dict[str, Any]) -> None:
        """Begin to talk."""
        self._talking = asyncio.create_task(self._talk(), name=f"{self.name} talks")

    @handles("chat", "news", "kept")
    async def on_chat(self, content: dict[str, Any], message: Message) -> None:
        """Count what came."""
        self.metrics.count("got", message.message_type)

    @handles("hush")
    async def on_hush(self, content: dict[str, Any]) -> None:
        """Stop talking, and go on to listen."""
        if self._talking is not None:
            self._talking.cancel()

    @handles("question")
    async def on_question(self, content: dict[str, Any]) -> dict[str, Any]:
        """Answer with the same number."""
        self.metrics.count("got", "question")
        return {"n": content["n"]}

    async def _talk(self) -> None:
        loop = asyncio.get_running_loop()
        near, far = str(self.settings["near"]), str(self.settings["far"])
        beat_s, burst = float(self.settings["beat_s"]), int(self.settings["burst"])
        due_s, beats = loop.time(), 0
        while True:
            due_s, beats = due_s + beat_s, beats + 1
            await asyncio.sleep(max(0.0, due_s - loop.time()))
            try:
                for other in (near, far):
                    for _ in range(burst):
                        await self.send(
                            other, "chat", self._content(), priority=_PRIORITIES[self._number % 4]
                        )
                    self.metrics.count("sent", "chat", burst)
                if not beats % 10:
                    await self._rarely(near, far)
            except ZejzlError as error:
                self.metrics.count("refused", type(error).__name__)

    async def _rarely(self, near: str, far: str) -> None:
        for other in (near, far):
            reply = await self.request(other, "question", self._content(), timeout_s=20)
            self.metrics.count("sent", "question")
            if reply.content["n"] != self._number:
                self.metrics.count("refused", "wrong reply")
        await self.publish(f"{TOPIC}.{self.name}", "news", self._content(), priority=LOW)
        self.metrics.count("sent", "news")
        await self.send(far, "kept", self._content(), guarantee=Guarantee.AT_LEAST_ONCE)
        self.metrics.count("sent", "kept")

    def _content(self) -> dict[str, Any]:
        self._number += 1
        return {"n": self._number, "text": _TEXT}
