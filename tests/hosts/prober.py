"""A client that asks all the time, to see for how long nobody answers. Runs on a test host.

Run: ``python -m tests.hosts.prober FILE http``, or ``FILE HOST:PORT`` with the address of Ray's control store: asks the
registry for an agent through the SDK, five times a second, and writes one JSON line an answer. Over ``http`` it comes
through the ingress of its machine and asks every service for its health too; otherwise over actor handles, as a
program of the cluster does, and asks for Ray's machines too.
"""

import asyncio
import functools
import json
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from zejzl_ray.cluster.local_plan import RAY_TOKEN_FILE, TOKEN_FILE, ingress_url
from zejzl_ray.cluster.names import MACHINE_LABEL, SERVICES
from zejzl_ray.cluster.node_start import client_environment
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.services import health_operation
from zejzl_ray.errors import ZejzlError
from zejzl_ray.sdk.connect import connect_async
from zejzl_ray.sdk.http_caller import HttpCaller
from zejzl_ray.settings import Settings, load_settings
from zejzl_ray.tls.credentials import load_credentials, own_machine, tls_directory

AGENT = "Responder"
_PERIOD_S = 0.2
_LIMIT_S = 1.5


async def ask_for_ever(path: Path, way: str) -> None:
    """Ask until the process is killed."""
    settings = load_settings()
    token = SecretStr((settings.data_path / TOKEN_FILE).read_text().strip())
    http = HttpCaller(ingress_url(settings), token, _LIMIT_S, ca_file=settings.trusted_authority())
    if way != "http":
        join_ray(settings, way)
    client = connect_async(None if way == "http" else "ray")

    async def health(service: str) -> dict[str, Any]:
        context = CallContext(deadline_at_s=time.time() + _LIMIT_S)
        answer = await http.call(health_operation(service), GetHealth(), context)
        assert isinstance(answer, ServiceHealth)
        return {"machine": answer.machine, "pid": answer.pid} if answer.is_ready else {"error": "not ready"}

    async def look_up() -> dict[str, Any]:
        return {"found": (await client.agent(AGENT)).name}

    async def members() -> dict[str, Any]:
        import ray

        nodes = await asyncio.to_thread(ray.nodes)
        return {"machines": sorted(node["Labels"][MACHINE_LABEL] for node in nodes if node["Alive"])}

    with path.open("a", buffering=1) as file:
        asking = [_repeat(file.write, "registry", look_up)]
        if way == "http":
            asking += [
                _repeat(file.write, service, functools.partial(health, service)) for service in SERVICES
            ]
        else:
            asking.append(_repeat(file.write, "members", members))
        await asyncio.gather(*asking)


def join_ray(settings: Settings, address: str) -> None:
    """Connect this program to Ray, with the patience of a node for a head that is away."""
    directory = tls_directory(settings.data_path)
    machine = own_machine(directory)
    assert machine is not None
    tls = load_credentials(directory, machine, time.time()).files
    # As long as the nodes themselves wait for a head that is away.
    patience = {"RAY_gcs_rpc_server_reconnect_timeout_s": "600"}
    os.environ.update(client_environment(settings.data_path / RAY_TOKEN_FILE, tls) | patience)
    import ray

    ray.init(address=address, namespace=settings.namespace, log_to_driver=False)


async def _repeat(
    write: Callable[[str], object], what: str, ask: Callable[[], Awaitable[dict[str, Any]]]
) -> None:
    while True:
        asked_at_s = time.time()
        try:
            async with asyncio.timeout(_LIMIT_S):
                found = await ask()
        except (ZejzlError, TimeoutError, OSError) as error:
            found = {"error": type(error).__name__}
        write(
            json.dumps({"what": what, "asked_at_s": asked_at_s, "answered_at_s": time.time()} | found) + "\n"
        )
        await asyncio.sleep(_PERIOD_S)


if __name__ == "__main__":
    asyncio.run(ask_for_ever(Path(sys.argv[1]), sys.argv[2]))
