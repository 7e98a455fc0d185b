"""What security costs from end to end, over actor handles: issuing tokens, and calls with and without the check.

Run: ``python -m benchmarks.secured_calls [--pairs 10] [--json]``. Starts a Ray cluster of its own on this machine.
"""

import argparse
import asyncio
import os
import shutil
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from benchmarks.report import Row, print_rows, spread
from zejzl_ray.cluster.node_start import client_environment
from zejzl_ray.cluster.secret_file import ensure_token

DIRECTORY = Path(tempfile.mkdtemp(prefix="zjb-", dir="/tmp"))
ensure_token(DIRECTORY / "ray_token")
os.environ.update(client_environment(DIRECTORY / "ray_token"))

import ray
from pydantic import SecretStr
from ray.cluster_utils import Cluster

from actors.core_orchestrator import CoreOrchestratorActor
from actors.identities import Identities, ensure_identities
from actors.place import ServiceOptions, start_service
from benchmarks.own_gateway import own_settings, start_gateway
from zejzl_ray.cluster.gateway_access import GatewayAccess
from zejzl_ray.cluster.names import MACHINE_LABEL
from zejzl_ray.cluster.topology import PLACES
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.orchestrator import GetAgent, RegisterAgent
from zejzl_ray.contracts.tokens import CredentialGrant, IssueToken
from zejzl_ray.errors import ZejzlError
from zejzl_ray.log import configure_logging

CALLS = 3_000
IN_FLIGHT = 200
NAMESPACE = "secured"
OPEN_NAMESPACE = "open"


class Constant:
    """The baseline of issuing: an actor method that returns a constant string."""

    @ray.method
    async def issue_token(self, request: IssueToken, call: CallContext) -> str:
        """Return the string."""
        return "a constant string"


async def calls_per_s(method: Any, requests: list[Any], call: CallContext) -> float:
    """Return the rate of one caller that keeps some calls in flight."""
    started_s = time.perf_counter()
    for start in range(0, len(requests), IN_FLIGHT):
        refs = [method.remote(request, call) for request in requests[start : start + IN_FLIGHT]]
        await asyncio.gather(*refs)
    return len(requests) / (time.perf_counter() - started_s)


@contextmanager
def cluster() -> Iterator[None]:
    """A cluster of its own with both machines' labels."""
    args = {"num_cpus": 2, "object_store_memory": 200_000_000, "include_dashboard": False}
    started = Cluster(initialize_head=True, head_node_args={**args, "labels": {MACHINE_LABEL: "mainpc"}})
    ray.init(address=started.address, log_to_driver=False, logging_level=40)
    try:
        yield
    finally:
        ray.shutdown()
        started.shutdown()
        shutil.rmtree(DIRECTORY, ignore_errors=True)


async def start_secured(identities: Identities) -> tuple[Any, Any, GatewayAccess]:
    """Start a gateway and a registry that asks for tokens, without limits of rate."""
    gateway, access = await start_gateway(DIRECTORY, NAMESPACE, identities)
    options = ServiceOptions(
        own_settings(DIRECTORY, NAMESPACE), identities.credential_of("service:core_orchestrator")
    )
    place = PLACES["core_orchestrator"]
    registry = start_service(CoreOrchestratorActor, place, options, namespace=NAMESPACE)
    return gateway, registry, access


async def wait_until_admitted(handle: Any, token: SecretStr) -> None:
    """Wait until the registry has heard of the gateway."""
    for _ in range(600):
        try:
            await handle.register_agent.remote(RegisterAgent(name="First"), CallContext(token=token))
        except ZejzlError:
            await asyncio.sleep(0.1)
        else:
            return
    raise AssertionError("the registry admits nobody")


async def measure(pairs: int) -> list[Row]:
    """Measure both rows, turn by turn."""
    identities = ensure_identities(DIRECTORY)
    gateway, registry, access = await start_secured(identities)
    token = await access.tokens.token()
    await wait_until_admitted(registry, token)
    open_settings = own_settings(DIRECTORY, OPEN_NAMESPACE, environment="dev", require_auth=False)
    unchecked: Any = start_service(
        CoreOrchestratorActor, PLACES["core_orchestrator"], ServiceOptions(open_settings, SecretStr("none")),
        namespace=OPEN_NAMESPACE,
    )  # fmt: skip
    await unchecked.register_agent.remote(RegisterAgent(name="First"), CallContext())
    constant: Any = ray.remote(Constant).options(num_cpus=0.01, max_concurrency=4096).remote()
    credential = identities.credential_of("service:error_bus")
    issues = [IssueToken(grant=CredentialGrant(credential=credential)) for _ in range(CALLS)]
    reads = [GetAgent(name="First") for _ in range(CALLS)]
    nobody, known = CallContext(), CallContext(token=token)
    turns = {
        "issue": lambda: calls_per_s(gateway.issue_token, issues, nobody),
        "constant": lambda: calls_per_s(constant.issue_token, issues, nobody),
        "checked": lambda: calls_per_s(registry.get_agent, reads, known),
        "unchecked": lambda: calls_per_s(unchecked.get_agent, reads, nobody),
    }
    rates: dict[str, list[float]] = {name: [] for name in turns}
    for turn in range(pairs + 1):
        for name in turns if turn % 2 else reversed(turns):
            rate = await turns[name]()
            if turn:  # the first turn warms up
                rates[name].append(rate)
    await access.close()
    issued = [one / other for one, other in zip(rates["issue"], rates["constant"], strict=True)]
    checked = [one / other for one, other in zip(rates["checked"], rates["unchecked"], strict=True)]
    return [
        Row(
            "issuing access tokens through the actor, one caller, pipelined", "x", spread(issued, "at least"),
            "an async actor method with the same request that returns a constant string", 0.6, "at least",
            f"{spread(rates['issue']).median:.0f} tokens/s",
        ),
        Row(
            "look-ups through the handle with the check (token, revocation, scope, rate, audit)", "x",
            spread(checked, "at least"), "the same look-ups with authentication off", None, "at least",
            f"{spread(rates['checked']).median:.0f} look-ups/s; no bar",
        ),
    ]  # fmt: skip


def main() -> int:
    """Run and print; exit code 1 when a bar is missed."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--pairs", type=int, default=10, help="interleaved pairs of each figure")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()
    configure_logging("WARNING")
    with cluster():
        rows = asyncio.run(measure(arguments.pairs))
    return 0 if print_rows("secured calls", rows, is_json=arguments.json) else 1


if __name__ == "__main__":
    sys.exit(main())
