"""The Ray shell of core_orchestrator: one line a method."""

import ray

from actors.closed import closed
from actors.place import ServiceOptions
from actors.shells import host
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.names import CORE_ORCHESTRATOR
from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.audit import AuditPage, Chains, ListChains, ReadAudit
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.life import Stopped, StopService
from zejzl_ray.contracts.machines import Machine, ReportMachine
from zejzl_ray.orchestrator.config import RegistryConfig
from zejzl_ray.orchestrator.service import CoreOrchestrator
from zejzl_ray.store.protocol import Store


@closed(CORE_ORCHESTRATOR)
class CoreOrchestratorActor:
    """core_orchestrator as a named actor. A command that returned is in the store; see ``CoreOrchestrator``."""

    def __init__(self, options: ServiceOptions) -> None:
        config = RegistryConfig(
            lease_s=options.settings.lease_s, probe_period_s=options.settings.probe_period_s
        )

        def build(store: Store) -> CoreOrchestrator:
            return CoreOrchestrator(store, SystemClock(), config)

        self._here = host(CORE_ORCHESTRATOR, options, build)
        self._security = self._here.security

    @ray.method
    async def register_agent(self, request: wire.RegisterAgent, call: CallContext) -> wire.Agent:
        """Register an agent or replace its record."""
        return await (await self._here.service()).register_agent(request, call)

    @ray.method
    async def register_agents(self, request: wire.RegisterAgents, call: CallContext) -> wire.AgentsRegistered:
        """Register many agents, all or none."""
        return await (await self._here.service()).register_agents(request, call)

    @ray.method
    async def list_agents(self, request: wire.ListAgents, call: CallContext) -> wire.AgentPage:
        """Return one page of agents."""
        return await (await self._here.service()).list_agents(request, call)

    @ray.method
    async def get_agent(self, request: wire.GetAgent, call: CallContext) -> wire.Agent:
        """Look an agent up."""
        return await (await self._here.service()).get_agent(request, call)

    @ray.method
    async def update_agent(self, request: wire.UpdateAgent, call: CallContext) -> wire.Agent:
        """Change some fields of an agent."""
        return await (await self._here.service()).update_agent(request, call)

    @ray.method
    async def deregister_agent(
        self, request: wire.DeregisterAgent, call: CallContext
    ) -> wire.AgentDeregistered:
        """Remove an agent."""
        return await (await self._here.service()).deregister_agent(request, call)

    @ray.method
    async def heartbeat(self, request: wire.Heartbeat, call: CallContext) -> wire.HeartbeatAccepted:
        """Renew an agent's lease."""
        return await (await self._here.service()).heartbeat(request, call)

    @ray.method
    async def explain_agent(self, request: wire.ExplainAgent, call: CallContext) -> wire.AgentExplanation:
        """Say why an agent is in its state."""
        return await (await self._here.service()).explain_agent(request, call)

    @ray.method
    async def watch_agents(self, request: wire.WatchAgents, call: CallContext) -> wire.WatchBatch:
        """Wait for changes."""
        return await (await self._here.service()).watch_agents(request, call)

    @ray.method
    async def get_history(self, request: wire.GetHistory, call: CallContext) -> wire.History:
        """Return past changes."""
        return await (await self._here.service()).get_history(request, call)

    @ray.method
    async def get_snapshot(self, request: wire.GetSnapshot, call: CallContext) -> wire.RegistrySnapshot:
        """Return the whole registry."""
        return await (await self._here.service()).get_snapshot(request, call)

    @ray.method
    async def get_registry_status(
        self, request: wire.GetRegistryStatus, call: CallContext
    ) -> wire.RegistryStatus:
        """Return the counts."""
        return await (await self._here.service()).get_registry_status(request, call)

    @ray.method
    async def accept_losses(self, request: wire.AcceptLosses, call: CallContext) -> wire.RegistryStatus:
        """Let the protection go."""
        return await (await self._here.service()).accept_losses(request, call)

    @ray.method
    async def declare_fleet(self, request: wire.DeclareFleet, call: CallContext) -> wire.FleetDeclared:
        """Load what the fleet declares."""
        return await (await self._here.service()).declare_fleet(request, call)

    @ray.method
    async def report_machine(self, request: ReportMachine, call: CallContext) -> Machine:
        """Take a machine's report."""
        return await (await self._here.service()).report_machine(request, call)

    @ray.method
    async def list_machines(self, request: wire.ListMachines, call: CallContext) -> wire.MachineList:
        """Return all machines."""
        return await (await self._here.service()).list_machines(request, call)

    @ray.method
    async def get_machine(self, request: wire.GetMachine, call: CallContext) -> Machine:
        """Return one machine."""
        return await (await self._here.service()).get_machine(request, call)

    @ray.method
    async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
        """Return the service's health; answers while the service is not ready too."""
        return await self._here.health()

    @ray.method
    async def list_audit_chains(self, request: ListChains, call: CallContext) -> Chains:
        """Return the audit chains of this service."""
        return await self._here.list_audit_chains()

    @ray.method
    async def read_audit(self, request: ReadAudit, call: CallContext) -> AuditPage:
        """Return entries of one audit chain."""
        return await self._here.read_audit(request)

    @ray.method
    async def stop(self, request: StopService, call: CallContext) -> Stopped:
        """Write what is pending and stop serving."""
        return await self._here.stop()
