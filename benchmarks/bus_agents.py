"""Agents of the benchmarks."""

from zejzl_ray.agents.agent import Agent
from zejzl_ray.bus.message import Message


class Quiet(Agent):
    """Does nothing with its mail."""

    async def on_message(self, message: Message) -> None:
        """Nothing."""
