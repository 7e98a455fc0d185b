"""The typed client of core_orchestrator, over any ``Caller``."""

from typing import TypeVar

from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.caller import Caller
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.machines import Machine, ReportMachine
from zejzl_ray.contracts.services import BY_SERVICE

_OPERATIONS = BY_SERVICE[wire.SERVICE]
R = TypeVar("R", bound=Contract)


class CoreOrchestratorClient:
    """Calls core_orchestrator; one method an operation, one request in, one model out.

    Args:
        caller: how the calls get there; this client does not close it.
    """

    def __init__(self, caller: Caller) -> None:
        self._caller = caller

    async def register_agent(
        self, request: wire.RegisterAgent, call: CallContext | None = None
    ) -> wire.Agent:
        """Register an agent or replace its record."""
        return await self._call("register_agent", request, call, wire.Agent)

    async def register_agents(
        self, request: wire.RegisterAgents, call: CallContext | None = None
    ) -> wire.AgentsRegistered:
        """Register many agents, all or none."""
        return await self._call("register_agents", request, call, wire.AgentsRegistered)

    async def deregister_agent(
        self, request: wire.DeregisterAgent, call: CallContext | None = None
    ) -> wire.AgentDeregistered:
        """Remove an agent on purpose; safe to repeat."""
        return await self._call("deregister_agent", request, call, wire.AgentDeregistered)

    async def get_agent(self, request: wire.GetAgent, call: CallContext | None = None) -> wire.Agent:
        """Look an agent up by name or alias."""
        return await self._call("get_agent", request, call, wire.Agent)

    async def heartbeat(
        self, request: wire.Heartbeat, call: CallContext | None = None
    ) -> wire.HeartbeatAccepted:
        """Renew an agent's lease and say how it is."""
        return await self._call("heartbeat", request, call, wire.HeartbeatAccepted)

    async def update_agent(self, request: wire.UpdateAgent, call: CallContext | None = None) -> wire.Agent:
        """Change some fields of an agent."""
        return await self._call("update_agent", request, call, wire.Agent)

    async def list_agents(self, request: wire.ListAgents, call: CallContext | None = None) -> wire.AgentPage:
        """Return one page of agents."""
        return await self._call("list_agents", request, call, wire.AgentPage)

    async def declare_fleet(
        self, request: wire.DeclareFleet, call: CallContext | None = None
    ) -> wire.FleetDeclared:
        """Tell the registry what the fleet file declares."""
        return await self._call("declare_fleet", request, call, wire.FleetDeclared)

    async def report_machine(self, request: ReportMachine, call: CallContext | None = None) -> Machine:
        """Report one machine's state."""
        return await self._call("report_machine", request, call, Machine)

    async def list_machines(
        self, request: wire.ListMachines, call: CallContext | None = None
    ) -> wire.MachineList:
        """Return all machines."""
        return await self._call("list_machines", request, call, wire.MachineList)

    async def registry_status(
        self, request: wire.GetRegistryStatus, call: CallContext | None = None
    ) -> wire.RegistryStatus:
        """Return the counts."""
        return await self._call("get_registry_status", request, call, wire.RegistryStatus)

    async def health(self, request: GetHealth, call: CallContext | None = None) -> ServiceHealth:
        """Return the service's health."""
        return await self._call("health", request, call, ServiceHealth)

    async def _call(self, name: str, request: Contract, call: CallContext | None, reply: type[R]) -> R:
        answer = await self._caller.call(_OPERATIONS[name], request, call or CallContext())
        if not isinstance(answer, reply):
            raise TypeError(f"{name} answered {type(answer).__name__}, not {reply.__name__}")
        return answer
