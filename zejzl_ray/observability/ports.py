"""What the observability hub needs of others."""

from collections.abc import Mapping
from typing import Protocol

from zejzl_ray.observability.performance_bottlenecks import AgentStanding


class Fleet(Protocol):
    """What the registry knows."""

    async def standings(self) -> Mapping[str, AgentStanding]:
        """Return the state of every agent.

        Raises:
            ZejzlError: nobody can be asked now.
        """
        ...
