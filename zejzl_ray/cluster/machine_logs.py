"""Logs of single machines, from their node agents, for the observability hub."""

from collections.abc import Sequence
from typing import Final

from zejzl_ray.cluster.core_orchestrator import CoreOrchestratorClient
from zejzl_ray.cluster.names import node_agent_name
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.logs import LogPage, ReadLogs
from zejzl_ray.contracts.machines import Machine
from zejzl_ray.contracts.orchestrator import ListMachines
from zejzl_ray.contracts.services import BY_SERVICE, NODE_AGENT
from zejzl_ray.errors import ServiceUnavailable

_READ_LOGS: Final = BY_SERVICE[NODE_AGENT]["read_logs"]


class NodeAgentLogs:
    """Reaches the node agents over their actor names.

    Args:
        caller: in the name of the hub; not closed here.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller
        self._registry = CoreOrchestratorClient(caller)
        # The names do not change often, and logs are wanted most when something is away.
        self._known: tuple[Machine, ...] = ()

    async def machines(self) -> Sequence[str]:
        """Return the names of all machines that ever reported; as of the last time while the registry is away.

        Raises:
            ServiceUnavailable: the registry is away, and has never answered before.
        """
        try:
            self._known = (await self._registry.list_machines(ListMachines())).machines
        except ServiceUnavailable:
            if not self._known:
                raise
        return [machine.name for machine in self._known]

    async def read_logs(self, machine: str, request: ReadLogs) -> LogPage:
        """Return a page from the node agent of a machine.

        Raises:
            ZejzlError: it does not answer, or refuses.
        """
        answer = await self._caller.call(_READ_LOGS.at(node_agent_name(machine)), request, CallContext())
        if not isinstance(answer, LogPage):
            raise TypeError(f"read_logs answered {type(answer).__name__}, not LogPage")
        return answer
