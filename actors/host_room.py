"""Whether a machine has at all what a host of agents asks for."""

import ray

from actors.host_plans import HostPlan
from zejzl_ray.cluster.names import MACHINE_LABEL
from zejzl_ray.errors import ClusterError


def require_room(plan: HostPlan) -> None:
    """Refuse what its machine does not have at all: Ray would let it wait for ever.

    Raises:
        ClusterError: names what is too much.
    """
    machine = plan.options.machine
    totals: dict[str, float] = {}
    for node in ray.nodes():
        if node["Alive"] and node["Labels"].get(MACHINE_LABEL) == machine:
            for resource, amount in node["Resources"].items():
                totals[resource] = max(amount, totals.get(resource, 0.0))
    if not totals:
        raise ClusterError(f"the machine {machine} is not in the cluster.", "See `zejzl status`.")
    asked = {"CPU": plan.cpus, "memory": plan.memory_mib * 1024 * 1024, **plan.resources}
    for resource, amount in asked.items():
        if amount > totals.get(resource, 0.0):
            unit = 1024 * 1024 if resource == "memory" else 1
            shown = "memory (MiB)" if resource == "memory" else resource
            raise ClusterError(
                f"it asks for {amount / unit:g} {shown}, and {machine} has {totals.get(resource, 0.0) / unit:g}.",
                "Lower it in the fleet file, or place the host elsewhere.",
            )
