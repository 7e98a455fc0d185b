"""The old bus with some agents."""

from typing import Any

from tests.unit.bus.virtual_time import clock
from zejzl_ray.bus.facade import MessageBus


def bus_of(*agents: str, size: int = 0, **options: Any) -> MessageBus:
    bus = MessageBus(clock=clock(), **options)
    for agent in agents:
        bus.register_agent(agent, size)
    return bus
