"""A client that asks all the time, to see for how long nobody answers. Runs on a test host.

Run: ``python -m tests.hosts.prober FILE http|ray``: asks every service for its health, and the registry for an agent
through the SDK, five times a second each, and writes one JSON line an answer. Over ``http`` it comes through the
ingress of its machine, with ``ray`` over actor handles, as a program of the cluster does.
"""

import asyncio
import functools
import json
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

from pydantic import SecretStr

from zejzl_ray.cluster.local_plan import TOKEN_FILE, ingress_url
from zejzl_ray.cluster.names import SERVICES
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.services import health_operation
from zejzl_ray.errors import ZejzlError
from zejzl_ray.sdk.connect import connect_async
from zejzl_ray.sdk.http_caller import HttpCaller
from zejzl_ray.settings import load_settings

AGENT = "Responder"
_PERIOD_S = 0.2
_LIMIT_S = 1.5


async def ask_for_ever(path: Path, way: str) -> None:
    """Ask until the process is killed."""
    settings = load_settings()
    token = SecretStr((settings.data_path / TOKEN_FILE).read_text().strip())
    http = HttpCaller(ingress_url(settings), token, _LIMIT_S, ca_file=settings.trusted_authority())
    client = connect_async("ray" if way == "ray" else None)

    async def health(service: str) -> dict[str, Any]:
        context = CallContext(deadline_at_s=time.time() + _LIMIT_S)
        answer = await http.call(health_operation(service), GetHealth(), context)
        assert isinstance(answer, ServiceHealth)
        return {"machine": answer.machine, "pid": answer.pid} if answer.is_ready else {"error": "not ready"}

    async def look_up() -> dict[str, Any]:
        return {"found": (await client.agent(AGENT)).name}

    with path.open("a", buffering=1) as file:
        asking = [_repeat(file.write, "registry", look_up)]
        if way == "http":
            asking += [
                _repeat(file.write, service, functools.partial(health, service)) for service in SERVICES
            ]
        await asyncio.gather(*asking)


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
