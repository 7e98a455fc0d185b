"""Agents of ``test_observability.py``; hosts import them from the folder that the test names."""

import asyncio
import json
import time
from pathlib import Path
from typing import Any

from zejzl_ray.agents.agent import Agent
from zejzl_ray.bus.message import Message
from zejzl_ray.errors import BusError, DeadlockDetected


class Echo(Agent):
    """Answers what it is asked."""

    async def on_message(self, message: Message) -> dict[str, Any]:
        return dict(message.content)


class Idle(Agent):
    """Is there and gets no mail."""


class Next(Agent):
    """Asks the next one before it answers, one thing at a time; what becomes of that goes into a file."""

    async def on_message(self, message: Message) -> dict[str, Any]:
        hops = message.content.get("hops", 0)
        if not hops:
            return {}
        self._write("asks")
        try:
            await self.request(self.settings["next"], "hop", {"hops": hops - 1}, timeout_s=60)
        except DeadlockDetected as error:
            self._write("refused", agents=error.details["agents"], request=error.details["correlation_id"])
            return {"ended_by": self.name}
        self._write("answered")
        return {}

    def _write(self, event: str, **more: Any) -> None:
        note(Path(self.settings["notes"]), agent=self.name, event=event, at_s=time.time(), **more)


class Blocker(Agent):
    """Does not let its loop go on."""

    async def on_message(self, message: Message) -> dict[str, Any]:
        time.sleep(message.content.get("seconds", 0))  # noqa: ASYNC251  what the test is about
        return {}


class Listener(Agent):
    """Writes down what is told on the topics of the system."""

    subscriptions = ("zejzl.>",)

    async def on_message(self, message: Message) -> None:
        note(
            Path(self.settings["notes"]),
            topic=message.topic,
            type=message.message_type,
            content=message.content,
        )


class Hand(Agent):
    """Does what files in a folder say, so that a test can have mail sent: each is one request."""

    async def on_start(self) -> None:
        self._task = asyncio.create_task(self._work(Path(self.settings["orders"])))

    async def on_stop(self) -> None:
        self._task.cancel()

    async def _work(self, folder: Path) -> None:
        while True:
            for path in waiting_in(folder):
                order = json.loads(path.read_text())
                path.unlink()
                await self._reach(order["to"])
                for _ in range(order["times"]):
                    await self.request(order["to"], order["type"], order["content"], timeout_s=60)
                path.with_suffix(".done").touch()
            await asyncio.sleep(0.05)

    async def _reach(self, agent: str) -> None:
        """Ask until there is an answer: the two hosts start side by side, and hear of one another a little later."""
        while True:
            try:
                await self.request(agent, "ready", timeout_s=1)
            except BusError:
                await asyncio.sleep(0.1)
            else:
                return


def waiting_in(folder: Path) -> list[Path]:
    """Return the orders of a folder, the oldest first."""
    return sorted(folder.glob("*.json"))


def note(path: Path, **line: Any) -> None:
    """Add a line; several processes write into one file."""
    with path.open("a") as file:
        file.write(json.dumps(line) + "\n")


def notes(path: Path) -> list[dict[str, Any]]:
    """Return the lines so far."""
    lines = path.read_text().splitlines(keepends=True) if path.exists() else []
    return [json.loads(line) for line in lines if line.endswith("\n")]
