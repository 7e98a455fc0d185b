"""Routes to hosts of agents: there is an actor for each, and the request says which."""

from collections.abc import Callable

from serve_apps.registry_replica import RegistryReplica
from zejzl_ray.cluster.mail_directory import HOST_KEY
from zejzl_ray.cluster.names import agent_host_name
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import NotFound


def host_locator(operation: Operation, replica: RegistryReplica) -> Callable[[Contract], Operation]:
    """Return what finds the host that a request names.

    Only a host that the registry has an agent of is asked: a name that somebody made up is never looked up in Ray.
    """

    def locate(request: Contract) -> Operation:
        host = getattr(request, "host", None)
        if not any(agent.metadata.get(HOST_KEY) == host for agent in replica.copy().agents()):
            raise NotFound(
                f"path.host: the registry has no agent of a host {host}.",
                "zejzl agents list shows the hosts.",
            )
        return operation.at(agent_host_name(str(host)))

    return locate
