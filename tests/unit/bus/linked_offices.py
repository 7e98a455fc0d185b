"""Two processes with a bus each, joined in memory; calls between them can be slow, fail, or lose their answers."""

import asyncio
from collections.abc import Sequence
from typing import Any

from tests.unit.bus.virtual_time import clock
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.frames import decode_delivered, decode_outgoing, encode_frame
from zejzl_ray.bus.mailbox import Mailbox
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.ports import Delivered, Outgoing
from zejzl_ray.bus.post_office import PostOffice
from zejzl_ray.errors import AgentUnreachable, DeadlineExceeded, ZejzlError

CALL_S = 5.0


class Wire:
    """The ``Transport`` of one office.

    Attributes:
        calls: every batch that went out, with how long its answer took.
        errors: of the next calls, in place of them.
        lost_answers: how many of the next answers do not come.
        delay_s: of each call.
    """

    def __init__(self, offices: "Offices", host: str) -> None:
        self._offices = offices
        self._host = host
        self.calls: list[tuple[Outgoing, float]] = []
        self.errors: list[ZejzlError] = []
        self.lost_answers = 0
        self.delay_s = 0.0

    async def deliver(self, host: str, outgoing: Outgoing) -> Delivered:
        begun_s = asyncio.get_running_loop().time()
        frame = encode_frame(outgoing)
        await asyncio.sleep(self.delay_s)
        if self.errors:
            raise self.errors.pop(0)
        there = self._offices.offices.get(host)
        if there is None:
            raise AgentUnreachable("nobody there", "", {"host": host})
        try:
            async with asyncio.timeout(CALL_S):
                answer = await there.accept(self._host, decode_outgoing(frame), self._offices, linger_s=0.002)
        except TimeoutError:
            raise DeadlineExceeded("no answer in time") from None
        self.calls.append((outgoing, asyncio.get_running_loop().time() - begun_s))
        if self.lost_answers:
            self.lost_answers -= 1
            raise DeadlineExceeded("no answer in time")
        return decode_delivered(encode_frame(answer))

    def speakers(self, host: str) -> "Offices":
        return self._offices

    def watch(self, host: str) -> None:
        pass


class Offices:
    """Offices by host; also their directory, and who may write to whom."""

    def __init__(self, *hosts: str, **options: Any) -> None:
        self.hosts: dict[str, str] = {}
        self.wires = {host: Wire(self, host) for host in hosts}
        self.offices = {
            host: PostOffice(clock=clock(), host=host, directory=self, options=BusOptions(**options))
            for host in hosts
        }
        for host, office in self.offices.items():
            office.connect(self.wires[host])

    def open(self, host: str, agent: str, **options: Any) -> Mailbox:
        self.hosts[agent] = host
        return self.offices[host].open_mailbox(agent, **options)

    async def close(self) -> None:
        for office in self.offices.values():
            await office.close()

    def locate(self, agent: str) -> str | None:
        return self.hosts.get(agent)

    def known_agents(self) -> Sequence[str]:
        return sorted(self.hosts)

    def subscribers(self, topic: str) -> Sequence[tuple[str, str]]:
        return []

    def why_refused(self, from_agent: str, box: Mailbox | None) -> str:
        return ""

    def is_unproved(self, from_agent: str) -> bool:
        return False


def note(number: int, to: str, sender: str = "writer", **fields: Any) -> Message:
    return Message(sender, to, "note", {"number": number}, **fields)


async def rest(rounds: int = 50) -> None:
    for _ in range(rounds):
        await asyncio.sleep(0)


def numbers(messages: Sequence[Message]) -> list[int]:
    return [message.content["number"] for message in messages]


def two(**options: Any) -> tuple[Offices, PostOffice, PostOffice]:
    """A writer on host a, a reader on host b."""
    offices = Offices("a", "b", **options)
    offices.open("a", "writer")
    offices.open("b", "reader")
    return offices, offices.offices["a"], offices.offices["b"]


async def read(office: PostOffice, count: int, agent: str = "reader") -> list[int]:
    return numbers([await office.receive(agent, 100.0) for _ in range(count)])


def reasons(office: PostOffice) -> dict[DeadLetterReason, int]:
    return dict(office.dead_letters.counts())


async def serve(office: PostOffice, agent: str, after_s: float = 0.0) -> None:
    while True:
        request = await office.receive(agent, 1000.0)
        await asyncio.sleep(after_s)
        await office.respond(request, {"of": request.content["number"]})
