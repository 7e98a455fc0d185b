"""A bus of one process, and what is done with it in tests."""

from typing import Any

from tests.unit.bus.virtual_time import clock
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.post_office import PostOffice


def office_of(*agents: str, **options: Any) -> PostOffice:
    office = PostOffice(clock=clock(), options=BusOptions(**options))
    for agent in agents:
        office.open_mailbox(agent)
    return office


def mail(number: int = 0, to: str = "b", sender: str = "a", **fields: Any) -> Message:
    return Message(sender, to, "task", {"number": number}, **fields)


async def read(office: PostOffice, agent: str = "b") -> list[int]:
    found = []
    while len(office.mailbox(agent)):
        found.append((await office.receive(agent, 0)).content["number"])
    return found


async def answer(office: PostOffice, agent: str = "b", content: dict[str, Any] | None = None) -> Message:
    request = await office.receive(agent)
    await office.respond(request, content or {"of": request.content})
    return request
