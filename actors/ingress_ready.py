"""Waiting for the ingress where its users reach it: over HTTP, through the proxy."""

import asyncio
import time

import httpx2
from pydantic import SecretStr

from zejzl_ray.errors import ClusterError
from zejzl_ray.sdk.problem_reply import to_error

_POLL_S = 0.1
_CALL_LIMIT_S = 5.0


async def wait_for_ingress(
    url: str, token: SecretStr, deadline_s: float, *, transport: httpx2.AsyncBaseTransport | None = None
) -> None:
    """Return when ``/readyz`` answers with 200.

    Serve calls an application running while its proxy is away, so only an answer proves that there is one.

    Args:
        url: where the ingress listens.
        token: bearer token of the ingress.
        deadline_s: monotonic time after which no further try is made; there is one in any case.
        transport: replaces the network in tests.

    Raises:
        ClusterError: it was not ready by then; says why.
    """
    headers = {"authorization": f"Bearer {token.get_secret_value()}"}
    # trust_env: the token must not travel through a proxy that the environment names
    async with httpx2.AsyncClient(
        base_url=url, headers=headers, timeout=_CALL_LIMIT_S, trust_env=False, transport=transport
    ) as client:
        while True:
            try:
                answer = await client.get("/readyz")
            except httpx2.TransportError as error:
                why = f"there is no answer ({type(error).__name__})"
            else:
                if answer.is_success:
                    return
                why = str(to_error(answer.status_code, answer.content, where=f"/readyz at {url}"))
            if time.monotonic() >= deadline_s:
                raise ClusterError(
                    f"The ingress at {url} is not ready: {why}", "See Serve's page of the dashboard."
                )
            await asyncio.sleep(_POLL_S)
