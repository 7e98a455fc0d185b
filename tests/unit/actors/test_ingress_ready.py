"""``up`` is done when the ingress answers, not when Serve says so."""

import time

import httpx2
import pytest
from pydantic import SecretStr

from actors.ingress_ready import wait_for_ingress
from zejzl_ray.contracts.problems import PROBLEM_MEDIA_TYPE, problem_of
from zejzl_ray.errors import ClusterError, ServiceUnavailable

NOT_READY = problem_of(ServiceUnavailable("Not ready: registry_copy.", "Try again."), "r-1")


class Ingress:
    """Answers what the script says; the last step again and again."""

    def __init__(self, *script: int | Exception) -> None:
        self.script = list(script)
        self.seen: list[httpx2.Request] = []

    async def answer(self, request: httpx2.Request) -> httpx2.Response:
        self.seen.append(request)
        step = self.script.pop(0) if len(self.script) > 1 else self.script[0]
        if isinstance(step, Exception):
            raise step
        body = NOT_READY.model_dump_json() if step != 200 else "{}"
        return httpx2.Response(step, text=body, headers={"content-type": PROBLEM_MEDIA_TYPE})


async def wait(ingress: Ingress, limit_s: float) -> None:
    await wait_for_ingress(
        "http://127.0.0.1:7000",
        SecretStr("proof"),
        time.monotonic() + limit_s,
        transport=httpx2.MockTransport(ingress.answer),
    )


async def test_a_proxy_that_is_away_and_a_replica_that_is_not_ready_are_waited_for() -> None:
    ingress = Ingress(httpx2.ConnectError("refused"), 503, 200)
    await wait(ingress, 60)
    assert [request.url.path for request in ingress.seen] == ["/readyz"] * 3
    assert ingress.seen[0].headers["authorization"] == "Bearer proof"


async def test_an_ingress_that_never_answers_is_named() -> None:
    with pytest.raises(
        ClusterError, match=r"http://127.0.0.1:7000 is not ready: there is no answer \(ConnectErr"
    ):
        await wait(Ingress(httpx2.ConnectError("refused")), 0)


async def test_the_reason_of_an_ingress_that_is_not_ready_is_told_and_the_token_is_not() -> None:
    with pytest.raises(ClusterError, match="Not ready: registry_copy") as caught:
        await wait(Ingress(503), 0)
    assert "proof" not in str(caught.value)
