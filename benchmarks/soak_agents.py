"""Agents that talk to each other in every way that the bus has, at a steady rate, for as long as they run.

Their errands are requests out of handlers of requests: an agent asks its far one, which asks back, and the asked one
asks its neighbour before it answers. Names go in circles there, and many handlers wait at once, but nobody is stuck: at
most 3 of the 6 handlers of an agent wait, one for each errand that leads over it.
"""

import asyncio
import itertools
from typing import Any, Final

from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.handlers import handles
from zejzl_ray.bus.message import HIGH, LOW, NORMAL, Guarantee, Message
from zejzl_ray.errors import ZejzlError

TOPIC: Final = "soak.news"
_PRIORITIES: Final = (HIGH, NORMAL, NORMAL, LOW)
_TEXT: Final = "x" * 80
ERRAND_WAY: Final = ("far", "far", "near")  # back to who asked, and on
# How long the last one takes, seconds: requests are told to the hub once they are 0.4 s old.
_ERRAND_TAKES_S: Final = (0.0, 0.05, 0.5, 1.0, 1.5)


class Talker(Agent):
    """Talks to a neighbour of its process and to one of another process.

    Each beat of ``beat_s`` seconds it sends ``burst`` messages to both; every tenth beat it asks both, publishes, and
    sends one message at least once. Beside that, one errand after the other. Settings: ``near``, ``far``, ``beat_s``,
    ``burst``.

    Its metrics count ``sent{kind}``, ``got{kind}`` and ``refused{error}``.
    """

    concurrency = 6
    subscriptions = (f"{TOPIC}.*",)

    async def on_start(self) -> None:
        """Wait for the word to talk."""
        self._number = 0
        self._is_hushed = False
        self._talking: list[asyncio.Task[None]] = []

    async def on_stop(self) -> None:
        """Stop talking."""
        for task in self._talking:
            task.cancel()
        if self._talking:
            await asyncio.wait(self._talking, timeout=2)

    @handles("hello")
    async def on_hello(self, content: dict[str, Any]) -> None:
        """Nothing: somebody knows the way."""

    @handles("talk")
    async def on_talk(self, content: dict[str, Any]) -> None:
        """Begin to talk."""
        self._talking = [
            asyncio.create_task(self._talk(), name=f"{self.name} talks"),
            asyncio.create_task(self._run_errands(), name=f"errands of {self.name}"),
        ]

    @handles("chat", "news", "kept")
    async def on_chat(self, content: dict[str, Any], message: Message) -> None:
        """Count what came."""
        self.metrics.count("got", message.message_type)

    @handles("hush")
    async def on_hush(self, content: dict[str, Any]) -> None:
        """Stop talking after what is under way, and go on to listen."""
        self._is_hushed = True

    @handles("question")
    async def on_question(self, content: dict[str, Any]) -> dict[str, Any]:
        """Answer with the same number."""
        self.metrics.count("got", "question")
        return {"n": content["n"]}

    @handles("errand")
    async def on_errand(self, content: dict[str, Any]) -> dict[str, Any]:
        """Ask the next one of the way, and answer with what it says; the last one takes its time."""
        self.metrics.count("got", "errand")
        way: list[str] = content["way"]
        if not way:
            await asyncio.sleep(content["takes_s"])
            return {"n": content["n"]}
        self.metrics.count("sent", "errand")
        reply = await self.request(
            str(self.settings[way[0]]), "errand", content | {"way": way[1:]}, timeout_s=20
        )
        return dict(reply.content)

    async def _talk(self) -> None:
        loop = asyncio.get_running_loop()
        near, far = str(self.settings["near"]), str(self.settings["far"])
        beat_s, burst = float(self.settings["beat_s"]), int(self.settings["burst"])
        due_s, beats = loop.time(), 0
        while not self._is_hushed:
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
            self.metrics.count("sent", "question")
            await self._ask(other, "question", self._content())
        await self.publish(f"{TOPIC}.{self.name}", "news", self._content(), priority=LOW)
        self.metrics.count("sent", "news")
        await self.send(far, "kept", self._content(), guarantee=Guarantee.AT_LEAST_ONCE)
        self.metrics.count("sent", "kept")

    async def _run_errands(self) -> None:
        first, *way = ERRAND_WAY
        for takes_s in itertools.cycle(_ERRAND_TAKES_S):
            if self._is_hushed:
                return
            try:
                self.metrics.count("sent", "errand")
                told = self._content() | {"way": way, "takes_s": takes_s}
                await self._ask(str(self.settings[first]), "errand", told)
            except ZejzlError as error:
                self.metrics.count("refused", type(error).__name__)
                await asyncio.sleep(1)

    async def _ask(self, other: str, kind: str, content: dict[str, Any]) -> None:
        reply = await self.request(other, kind, content, timeout_s=20)
        if reply.content["n"] != content["n"]:
            self.metrics.count("refused", "wrong reply")

    def _content(self) -> dict[str, Any]:
        self._number += 1
        return {"n": self._number, "text": _TEXT}
