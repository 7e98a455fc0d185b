"""Hosts of ``test_agents_mail.py``: as the product starts them, and a test may send through their bus."""

import asyncio
import os
import socket
import time
from typing import Any

import psutil
import ray

from actors.agent_host import AgentHostActor
from zejzl_ray.agents.agent import Agent
from zejzl_ray.agents.handlers import handles
from zejzl_ray.bus.message import HIGH, LOW, NORMAL, Guarantee, Message
from zejzl_ray.errors import ZejzlError

KEPT_EVERY = 20
_PRIORITIES = (HIGH, NORMAL, NORMAL, LOW)
_TOGETHER = 50


class Talker(Agent):
    """Sends many messages when it is told to, and checks those that come.

    Metrics: ``sent``; ``got``; ``wrong``: of another sender or for another receiver than the content says, twice, or
    out of order within its priority and sender.
    """

    async def on_start(self) -> None:
        self._last: dict[tuple[str, int], int] = {}
        self._kept: set[tuple[str, int]] = set()

    @handles("talk")
    async def talk(self, content: dict[str, Any]) -> dict[str, Any]:
        numbers: dict[tuple[str, int], int] = {}
        kept = []
        others, count = content["to"], content["count"]
        for turn in range(count):
            to, priority = others[turn % len(others)], _PRIORITIES[(turn // len(others)) % 4]
            told = {"from": self.name, "to": to, "number": turn}
            if turn % KEPT_EVERY == 0:
                kept.append(self.send(to, "kept", told, priority=priority, guarantee=Guarantee.AT_LEAST_ONCE))
            else:
                key = (to, priority)
                numbers[key] = told["number"] = numbers.get(key, 0) + 1
                await self.send(to, "chat", told, priority=priority)
            if len(kept) == _TOGETHER or turn == count - 1:
                await asyncio.gather(*kept)
                kept = []
        self.metrics.count("sent", by=count)
        return {}

    @handles("chat")
    async def chat(self, content: dict[str, Any], message: Message) -> None:
        key = (message.from_agent, message.priority)
        self._check(content, message, is_next=content["number"] == self._last.get(key, 0) + 1)
        self._last[key] = content["number"]

    @handles("kept")
    async def keep(self, content: dict[str, Any], message: Message) -> None:
        key = (message.from_agent, content["number"])
        self._check(content, message, is_next=key not in self._kept)
        self._kept.add(key)

    @handles("wait")
    async def wait(self, content: dict[str, Any]) -> dict[str, Any]:
        await asyncio.sleep(content["seconds"])
        return {}

    @handles("ping")
    async def ping(self, content: dict[str, Any]) -> dict[str, Any]:
        return content

    def _check(self, content: dict[str, Any], message: Message, *, is_next: bool) -> None:
        is_own = content["from"] == message.from_agent and content["to"] == message.to_agent == self.name
        self.metrics.count("got")
        if not is_own or not is_next:
            self.metrics.count("wrong")


class Noter(Agent):
    """Writes down the id of each message that it handles, so that the end of its process does not take it along."""

    subscriptions: tuple[str, ...] = ("mail.*.news",)

    async def on_start(self) -> None:
        self._notes = os.open(self.settings["notes"], os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o600)

    async def on_message(self, message: Message) -> dict[str, Any]:
        os.write(self._notes, f"{self.name} {os.getpid()} {message.id} {message.topic or '-'}\n".encode())
        return {}

    async def on_stop(self) -> None:
        os.close(self._notes)


class Vault(Noter):
    """Gets no copies of what is published."""

    subscriptions = ()


class MailHostActor(AgentHostActor):
    """A host whose bus a test may use."""

    @ray.method
    async def pid(self) -> int:
        return os.getpid()

    @ray.method
    async def metrics(self) -> dict[str, dict[str, Any]]:
        """Return what the agents count, of those that run."""
        return {info.name: dict(info.metrics) for info in await self._host.agents.list()}

    @ray.method
    async def tell(
        self, sender: str, receiver: str, kind: str, content: dict[str, Any], *, kept: bool = False
    ) -> str:
        """Send a message in the name of an agent, and return its id."""
        return await self._tell(sender, receiver, kind, content, kept=kept)

    async def _tell(
        self, sender: str, receiver: str, kind: str, content: dict[str, Any], *, kept: bool
    ) -> str:
        guarantee = Guarantee.AT_LEAST_ONCE if kept else Guarantee.AT_MOST_ONCE
        return await self._host.office.send(Message(sender, receiver, kind, content, guarantee=guarantee))

    @ray.method
    async def stream(
        self, sender: str, receiver: str, count: int, pause_s: float
    ) -> tuple[list[str], list[str]]:
        """Send one after the other, each tenth at least once; return the ids, and the errors of the others."""
        sent, errors = [], []
        for turn in range(count):
            try:
                sent.append(await self._tell(sender, receiver, "note", {}, kept=turn % 10 == 0))
            except ZejzlError as error:
                errors.append(type(error).__name__)
            await asyncio.sleep(pause_s)
        return sent, errors

    @ray.method
    async def ask(
        self, sender: str, receiver: str, kind: str, content: dict[str, Any], limit_s: float
    ) -> tuple[str, float]:
        """Ask in the name of an agent; return the class of the error, or nothing, and the monotonic time of its end."""
        try:
            await self._host.office.request(Message(sender, receiver, kind, content), limit_s)
        except ZejzlError as error:
            return type(error).__name__, time.monotonic()
        return "", time.monotonic()

    @ray.method
    async def publish(self, sender: str, topic: str) -> int:
        """Publish in the name of an agent; return to how many."""
        return await self._host.office.publish(topic, Message(sender, "", "note", {}))

    @ray.method
    async def letters(self) -> dict[str, tuple[str, str]]:
        """Return the dead letters: message id -> reason and detail."""
        return {
            each.message.id: (each.reason.value, each.detail)
            for each in self._host.office.dead_letters.letters()
        }

    @ray.method
    async def close_connections(self, other_pid: int) -> int:
        """Close the TCP connections between this process and another one; both live on. Return how many there were."""
        ports = {each.laddr.port for each in psutil.Process(other_pid).net_connections("tcp")}
        closed = 0
        for each in psutil.Process().net_connections("tcp"):
            if each.status == psutil.CONN_ESTABLISHED and each.raddr.port in ports:
                with socket.socket(fileno=os.dup(each.fd)) as own:
                    own.shutdown(socket.SHUT_RDWR)
                closed += 1
        return closed
