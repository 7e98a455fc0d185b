"""A security gateway of a benchmark's own, without limits of rate; imports Ray, so import it late."""

from pathlib import Path
from typing import Any

from actors.identities import ROOT_SUBJECT, Identities
from actors.place import ServiceOptions, start_service
from actors.security_gateway import SecurityGatewayActor
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.gateway_access import GatewayAccess
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.cluster.topology import PLACES
from zejzl_ray.contracts.policy import GetPolicy, Policy, RatePolicy, SetPolicy
from zejzl_ray.settings import Settings

BOUNDLESS = RatePolicy(burst_per_s=1_000_000, sustained_per_min=60_000_000)


def own_settings(directory: Path, namespace: str, **more: Any) -> Settings:
    """Return settings of a namespace whose state lies on the disk, as it does by default."""
    return Settings(
        data_dir=directory, store_url=f"sqlite://{directory}/{namespace}", namespace=namespace,
        security_port=free_ports(1)[0], **more,
    )  # fmt: skip


async def start_gateway(directory: Path, namespace: str, identities: Identities) -> tuple[Any, GatewayAccess]:
    """Start a gateway and return its handle, and calls in the name of the composition root; the caller closes them.

    Needs a process that is connected to Ray.
    """
    options = ServiceOptions(
        own_settings(directory, namespace), identities.credential_of("service:security_gateway")
    )
    place = PLACES["security_gateway"]
    handle: Any = start_service(SecurityGatewayActor, place, options, namespace=namespace)
    access = GatewayAccess(namespace, identities.credential_of(ROOT_SUBJECT), SystemClock(), timeout_s=60)
    policy = (await access.gateway.get_policy(GetPolicy())).policy
    await access.gateway.set_policy(SetPolicy(policy=without_limits(policy), source="benchmark"))
    return handle, access


def without_limits(policy: Policy) -> Policy:
    """Return a policy that limits nobody's rate: a benchmark is one caller that never pauses."""
    roles = {name: role.model_copy(update={"rate": None}) for name, role in policy.roles.items()}
    return policy.model_copy(update={"rate": BOUNDLESS, "address_rate": BOUNDLESS, "roles": roles})
