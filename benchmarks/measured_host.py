"""A host of agents as the product starts it, with one more method: the work of a benchmark."""

from typing import Any

import ray

from actors.agent_host import AgentHostActor
from benchmarks.bus_host_work import HostWork
from zejzl_ray.cluster.agent_host import AgentHostOptions


class MeasuredHostActor(AgentHostActor):
    """The actor.

    Args:
        options: from the starter.
    """

    def __init__(self, options: AgentHostOptions) -> None:
        super().__init__(options)
        self._work = HostWork(self._host)

    @ray.method
    async def work(self, method: str, arguments: tuple[Any, ...], options: dict[str, Any]) -> Any:
        """Do a method of ``HostWork``."""
        return await getattr(self._work, method)(*arguments, **options)
