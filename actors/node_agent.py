"""The node agent: a small actor pinned to each machine, which reports it to the core orchestrator."""

from collections.abc import Callable

import ray
from ray.actor import ActorProxy

from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.names import MACHINE_LABEL, NAMESPACE, VRAM_RESOURCE, node_agent_name
from zejzl_ray.contracts.health import ServiceHealth
from zejzl_ray.contracts.machines import MachineSnapshot
from zejzl_ray.log import configure_logging
from zejzl_ray.machine.assembly import build_reporting
from zejzl_ray.machine.reporting import MachineReporter
from zejzl_ray.machine.settings import NodeAgentSettings


class NodeAgentActor:
    """Reads the machine it runs on and reports it every period, from its start until ``stop``.

    It keeps no state: a restarted one begins to report again by itself.

    Args:
        machine: the machine it is pinned to.
        settings: cards, period and time limits.
        find_reporter: returns a client of the core orchestrator; is pickled, may block, raises while there is
            none.
    """

    def __init__(
        self, machine: str, settings: NodeAgentSettings, find_reporter: Callable[[], MachineReporter]
    ) -> None:
        configure_logging(settings.log_level, service="node_agent")
        node_id = ray.get_runtime_context().get_node_id()
        self._reporting = build_reporting(
            machine,
            settings,
            find_reporter,
            SystemClock(),
            node_id=node_id,
            address=ray.util.get_node_ip_address(),
            told_to_ray_mib=_vram_told_to_ray(node_id),
        )
        self._reporting.start()

    @ray.method
    async def snapshot(self) -> MachineSnapshot:
        """Return the machine as it is now."""
        return await self._reporting.snapshot()

    @ray.method
    async def health(self) -> ServiceHealth:
        """Return whether reports get through, and why not."""
        return self._reporting.health()

    @ray.method
    async def stop(self) -> None:
        """Stop reporting and release the driver; safe to repeat."""
        await self._reporting.stop()


def start(
    machine: str,
    settings: NodeAgentSettings,
    find_reporter: Callable[[], MachineReporter],
    *,
    namespace: str = NAMESPACE,
) -> ActorProxy[NodeAgentActor]:
    """Start the node agent of a machine, or return the one that runs; does not wait for it.

    It runs on that machine only: while the machine is away it is pending, and it starts again when the
    machine joins.
    """
    actor = ray.remote(NodeAgentActor).options(
        name=node_agent_name(machine),
        namespace=namespace,
        get_if_exists=True,
        lifetime="detached",
        max_restarts=-1,
        num_cpus=0,
        label_selector={MACHINE_LABEL: machine},
    )
    return actor.remote(machine, settings, find_reporter)


def _vram_told_to_ray(node_id: str) -> int:
    """Return the whole of this node's ``vram_mib``, used or not."""
    nodes = ray.nodes()
    return int(sum(node["Resources"].get(VRAM_RESOURCE, 0) for node in nodes if node["NodeID"] == node_id))
