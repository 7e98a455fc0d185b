"""Sends services home, one at a time and drained; runs at the head for as long as the cluster does."""

import asyncio
import time
from collections.abc import Callable

import ray

from zejzl_ray.cluster.gateway_access import GatewayAccess
from zejzl_ray.cluster.homecoming import Homecoming
from zejzl_ray.cluster.names import MACHINE_LABEL
from zejzl_ray.cluster.topology import START_ORDER
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.life import StopService
from zejzl_ray.contracts.services import health_operation
from zejzl_ray.errors import ZejzlError

LOOK_S = 2.0
_CALL_LIMIT_S = 5.0
_DRAIN_LIMIT_S = 15.0

Report = Callable[[str], None]


async def keep_home(access: GatewayAccess, namespace: str, after_s: float, report: Report) -> None:
    """Look every two seconds whether somebody is to go home; returns when it is cancelled only.

    Args:
        access: calls in the name of the composition root.
        namespace: of the services' actors.
        after_s: how long a home must have been healthy.
        report: told of each move.
    """
    homes = {place.service: place.home for row in START_ORDER for place in row}
    homecoming = Homecoming(homes, after_s)
    while True:
        try:
            alive = await _alive_machines()
            places = await _places(access, tuple(homes))
            service = homecoming.next(time.monotonic(), places, alive)
            if service is not None:
                report(f"{service} goes home to {homes[service]}, which has been back for {after_s:g} s")
                await _send_home(access, service, namespace)
        except (TimeoutError, ZejzlError, ray.exceptions.RayError, ValueError):
            pass  # the control store or a service is away: the next look tells
        await asyncio.sleep(LOOK_S)


async def _alive_machines() -> frozenset[str]:
    nodes = await asyncio.wait_for(asyncio.to_thread(ray.nodes), _CALL_LIMIT_S)
    return frozenset(str(node["Labels"].get(MACHINE_LABEL, "")) for node in nodes if node["Alive"])


async def _places(access: GatewayAccess, services: tuple[str, ...]) -> dict[str, str]:
    async def one(service: str) -> tuple[str, str]:
        try:
            context = CallContext(deadline_at_s=time.time() + _CALL_LIMIT_S)
            answer = await access.caller.call(health_operation(service), GetHealth(), context)
        except ZejzlError:
            return service, ""
        assert isinstance(answer, ServiceHealth)
        return service, answer.machine if answer.is_ready else ""

    return {service: machine for service, machine in await asyncio.gather(*map(one, services)) if machine}


async def _send_home(access: GatewayAccess, service: str, namespace: str) -> None:
    """Let the service write what is pending, then end its process: Ray starts it at home, from the store."""
    actor = await asyncio.wait_for(asyncio.to_thread(ray.get_actor, service, namespace), _CALL_LIMIT_S)
    token = await access.tokens.token()  # without one it is not asked to stop, and so goes on where it is
    try:
        async with asyncio.timeout(_DRAIN_LIMIT_S):
            await actor.stop.remote(StopService(), CallContext(token=token))
    finally:
        ray.kill(actor, no_restart=False)
