"""The node agent: a small actor pinned to each machine, which reports it to the core orchestrator."""

import asyncio
from dataclasses import dataclass

import ray
from pydantic import SecretStr
from ray.actor import ActorProxy

from actors.closed import closed
from zejzl_ray.auth.audit_remote import RemoteAuditSink
from zejzl_ray.auth.process_security import ProcessSecurity, SecurityOptions
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.core_orchestrator import CoreOrchestratorClient
from zejzl_ray.cluster.gateway_access import GatewayAccess
from zejzl_ray.cluster.names import MACHINE_LABEL, VRAM_RESOURCE, node_agent_name
from zejzl_ray.cluster.ray_logs import log_places
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.life import Stopped, StopService
from zejzl_ray.contracts.logs import LogPage, ReadLogs
from zejzl_ray.contracts.machines import GetSnapshot, MachineSnapshot
from zejzl_ray.contracts.services import NODE_AGENT
from zejzl_ray.ids import new_id
from zejzl_ray.log import configure_logging, files_of
from zejzl_ray.machine.assembly import build_reporting
from zejzl_ray.machine.log_files import MachineLogFiles
from zejzl_ray.machine.monitor import MachineMonitor
from zejzl_ray.machine.reporting import MachineReporting
from zejzl_ray.machine.settings import NodeAgentSettings


@dataclass(frozen=True, slots=True)
class NodeAgentOptions:
    """What the composition root hands to a node agent.

    Attributes:
        machine: the machine it is pinned to.
        settings: cards, period and time limits.
        credential: proof of which machine it is; exchanged for short-lived tokens.
        namespace: where the services are.
        is_auth_required: false lets calls without a token pass.
    """

    machine: str
    settings: NodeAgentSettings
    credential: SecretStr
    namespace: str
    is_auth_required: bool = True


@closed(NODE_AGENT)
class NodeAgentActor:
    """Reads the machine it runs on and reports it every period, from its start until ``stop``.

    It keeps no state: a restarted one begins to report again by itself.

    Args:
        options: from the composition root.
    """

    def __init__(self, options: NodeAgentOptions) -> None:
        machine, logs = options.machine, options.settings.logs
        files = files_of(logs, machine)
        configure_logging(logs.level, service=NODE_AGENT, machine=machine, files=files)
        clock = SystemClock()
        self._logs = MachineLogFiles(machine, log_places(files.directory), clock)
        node_id = ray.get_runtime_context().get_node_id()
        self._access = GatewayAccess(options.namespace, options.credential, clock)
        chain = f"{NODE_AGENT}.{options.machine}.{new_id('run')}"  # a restarted one begins a chain of its own
        self._security = ProcessSecurity(
            NODE_AGENT,
            chain,
            self._access.ports(RemoteAuditSink(self._access.audit.record)),
            clock,
            SecurityOptions(is_required=options.is_auth_required),
        )
        self._security.launch()
        reporter = _Reporter(CoreOrchestratorClient(self._access.caller))
        self._reporting = build_reporting(
            options.machine,
            options.settings,
            lambda: reporter,
            clock,
            node_id=node_id,
            address=ray.util.get_node_ip_address(),
            told_to_ray_mib=_vram_told_to_ray(node_id),
        )
        monitor = MachineMonitor(_Latest(self._reporting))
        self._reporting.condition = monitor.condition
        self._reporting.start()
        self._monitoring = asyncio.get_running_loop().create_task(monitor.run(), name="machine-monitor")

    @ray.method
    async def snapshot(self, request: GetSnapshot, call: CallContext) -> MachineSnapshot:
        """Return the machine as it is now."""
        return await self._reporting.snapshot()

    @ray.method
    async def read_logs(self, request: ReadLogs, call: CallContext) -> LogPage:
        """Return lines of all processes of the machine, Ray's among them."""
        return await self._logs.read_logs(request)

    @ray.method
    async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
        """Return whether reports get through, how late the news of revocations are, and why not."""
        return self._reporting.health(self._security.checks())

    @ray.method
    async def stop(self, request: StopService, call: CallContext) -> Stopped:
        """Stop reporting and release the driver; safe to repeat."""
        self._monitoring.cancel()
        await asyncio.wait({self._monitoring})
        await self._reporting.stop()
        await self._security.stop()
        await self._access.close()
        self._logs.close()
        return Stopped()


class _Latest:
    def __init__(self, reporting: MachineReporting) -> None:
        self.snapshot = reporting.latest


class _Reporter:
    def __init__(self, client: CoreOrchestratorClient) -> None:
        self.report_machine = client.report_machine


def start(options: NodeAgentOptions) -> ActorProxy[NodeAgentActor]:
    """Start the node agent of a machine, or return the one that runs; does not wait for it.

    It runs on that machine only: while the machine is away it is pending, and it starts again when the
    machine joins.
    """
    actor = ray.remote(NodeAgentActor).options(
        name=node_agent_name(options.machine),
        namespace=options.namespace,
        get_if_exists=True,
        lifetime="detached",
        max_restarts=-1,
        enable_task_events=False,  # as for services
        num_cpus=0,
        label_selector={MACHINE_LABEL: options.machine},
    )
    return actor.remote(options)


def _vram_told_to_ray(node_id: str) -> int:
    """Return the whole of this node's ``vram_mib``, used or not."""
    nodes = ray.nodes()
    return int(sum(node["Resources"].get(VRAM_RESOURCE, 0) for node in nodes if node["NodeID"] == node_id))
