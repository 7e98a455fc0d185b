"""The Ray shell of security_gateway: one line a method."""

import ray

from actors.place import ServiceOptions
from actors.shells import launch_shell
from zejzl_ray.cluster.names import SECURITY_GATEWAY
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.shell import BareService


class SecurityGatewayActor:
    """security_gateway as a named actor; it owns its store and answers health, its operations are yet to come."""

    def __init__(self, options: ServiceOptions) -> None:
        self._shell = launch_shell(SECURITY_GATEWAY, options, BareService)

    @ray.method
    async def health(self, request: GetHealth, call: CallContext) -> ServiceHealth:
        """Return the service's health; answers while the service is not ready too."""
        return await self._shell.health()

    @ray.method
    async def stop(self) -> None:
        """Stop serving and close the store."""
        await self._shell.stop()
