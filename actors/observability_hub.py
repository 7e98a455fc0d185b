"""The Ray shell of observability_hub: one line a method."""

import ray

from actors.place import ServiceOptions
from actors.shells import launch_shell
from zejzl_ray.cluster.names import OBSERVABILITY_HUB
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.shell import BareService


class ObservabilityHubActor:
    """observability_hub as a named actor; it owns its store and answers health, its operations are yet to come."""

    def __init__(self, options: ServiceOptions) -> None:
        self._shell = launch_shell(OBSERVABILITY_HUB, options, BareService)

    @ray.method
    async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
        """Return the service's health; answers while the service is not ready too."""
        return await self._shell.health()

    @ray.method
    async def stop(self) -> None:
        """Stop serving and close the store."""
        await self._shell.stop()
