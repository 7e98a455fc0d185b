import json
from collections.abc import AsyncIterator, Callable
from pathlib import Path

import httpx2
import pytest
from pydantic import SecretStr

from zejzl_ray import errors
from zejzl_ray.contracts import orchestrator as wire
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import Agent
from zejzl_ray.contracts.problems import problem_of, wire_status
from zejzl_ray.errors import ZejzlError
from zejzl_ray.sdk import http_caller
from zejzl_ray.sdk.http_caller import HttpCaller
from zejzl_ray.sdk.patience import Patience

OPERATIONS = {operation.name: operation for operation in wire.OPERATIONS}
GET_AGENT = OPERATIONS["get_agent"]
SCOUT = wire.GetAgent(name="Scout")
Handler = Callable[[httpx2.Request], httpx2.Response]


async def no_sleep(_: float) -> None: ...


def over(handler: Handler, token: str | None = "secret", url: str = "http://127.0.0.1:7000") -> HttpCaller:
    proof = None if token is None else SecretStr(token)
    transport = httpx2.MockTransport(handler)
    return HttpCaller(url, proof, timeout_s=5.0, transport=transport, patience=Patience(sleep=no_sleep))


def answering(*answers: httpx2.Response | Exception) -> tuple[Handler, list[httpx2.Request]]:
    """Give the answers in turn, the last one for ever."""
    left, seen = list(answers), list[httpx2.Request]()

    def handle(request: httpx2.Request) -> httpx2.Response:
        seen.append(request)
        answer = left.pop(0) if len(left) > 1 else left[0]
        if isinstance(answer, Exception):
            raise answer
        return answer

    return handle, seen


def ok(agent: Agent) -> httpx2.Response:
    return httpx2.Response(200, content=agent.model_dump_json())


def refused(error: ZejzlError, headers: dict[str, str] | None = None) -> httpx2.Response:
    body = problem_of(error).model_dump_json()
    return httpx2.Response(wire_status(error).http, content=body, headers=headers)


async def test_a_call_sends_its_context_and_returns_the_reply_model(make_agent: Callable[..., Agent]) -> None:
    handler, seen = answering(ok(make_agent("Scout", 7)))
    caller = over(handler)
    reply = await caller.call(GET_AGENT, SCOUT, CallContext(request_id="req-1", caused_by="req-0"))
    await caller.close()
    await caller.close()
    assert reply == make_agent("Scout", 7)
    (sent,) = seen
    assert (sent.method, str(sent.url)) == ("GET", "http://127.0.0.1:7000/v1/agents/Scout")
    assert sent.headers["authorization"] == "Bearer secret"
    assert (sent.headers["x-request-id"], sent.headers["x-caused-by"]) == ("req-1", "req-0")
    assert 4.0 < float(sent.headers["x-request-timeout-s"]) <= 5.0


async def test_a_body_is_sent_as_json(make_agent: Callable[..., Agent]) -> None:
    handler, seen = answering(httpx2.Response(201, content=make_agent().model_dump_json()))
    request = wire.RegisterAgent(name="Scout", port=9000)
    await over(handler).call(OPERATIONS["register_agent"], request, CallContext())
    assert seen[0].headers["content-type"] == "application/json"
    assert wire.RegisterAgent.model_validate(json.loads(seen[0].content)) == request


async def test_a_query_is_sent(make_agent: Callable[..., Agent]) -> None:
    page = wire.AgentPage(agents=(make_agent(),), revision=3)
    handler, seen = answering(httpx2.Response(200, content=page.model_dump_json()))
    await over(handler).call(OPERATIONS["list_agents"], wire.ListAgents(capability="a b&c"), CallContext())
    assert seen[0].url.params["capability"] == "a b&c"


async def test_a_read_asks_for_what_was_written_before(make_agent: Callable[..., Agent]) -> None:
    handler, seen = answering(ok(make_agent("Scout", 7)))
    caller = over(handler)
    await caller.call(OPERATIONS["register_agent"], wire.RegisterAgent(name="Scout"), CallContext())
    await caller.call(GET_AGENT, SCOUT, CallContext())
    assert [request.url.query for request in seen] == [b"", b"min_revision=7"]


async def test_the_token_of_the_call_stands_before_the_callers_own(make_agent: Callable[..., Agent]) -> None:
    handler, seen = answering(ok(make_agent()))
    await over(handler).call(GET_AGENT, SCOUT, CallContext(token=SecretStr("other")))
    assert seen[0].headers["authorization"] == "Bearer other"


async def test_without_a_token_no_authorization_is_sent(make_agent: Callable[..., Agent]) -> None:
    handler, seen = answering(ok(make_agent()))
    await over(handler, token=None).call(GET_AGENT, SCOUT, CallContext())
    assert "authorization" not in seen[0].headers


async def test_a_repeatable_operation_is_tried_again_while_the_service_is_away(
    make_agent: Callable[..., Agent],
) -> None:
    handler, seen = answering(
        httpx2.ConnectError("refused"),
        refused(errors.StoreUnavailable("away"), {"retry-after": "1"}),
        httpx2.Response(502, content=b"<html>"),
        ok(make_agent()),
    )
    assert await over(handler).call(GET_AGENT, SCOUT, CallContext()) == make_agent()
    assert len(seen) == 4
    assert len({request.headers["x-request-id"] for request in seen}) == 1


async def test_tries_are_bounded() -> None:
    handler, seen = answering(refused(errors.Overloaded("full")))
    with pytest.raises(errors.Overloaded):
        await over(handler).call(GET_AGENT, SCOUT, CallContext())
    assert len(seen) == Patience().attempts


async def test_an_operation_that_must_not_be_repeated_is_tried_once() -> None:
    once = Operation(
        "once", "s", wire.GetAgent, Agent, "s:x:write", "POST", "/v1/once/{name}", is_repeatable=False
    )
    handler, seen = answering(refused(errors.Overloaded("full")))
    with pytest.raises(errors.Overloaded):
        await over(handler).call(once, SCOUT, CallContext())
    assert len(seen) == 1


async def test_an_error_that_repeating_does_not_help_is_raised_at_once() -> None:
    handler, seen = answering(refused(errors.AgentNotFound("No agent 'Scout'.", "List them.")))
    with pytest.raises(errors.AgentNotFound) as caught:
        await over(handler).call(GET_AGENT, SCOUT, CallContext())
    assert (caught.value.remedy, len(seen)) == ("List them.", 1)


async def test_a_pause_beyond_the_deadline_is_not_waited_for() -> None:
    handler, seen = answering(refused(errors.Overloaded("full"), {"retry-after": "3600"}))
    with pytest.raises(errors.Overloaded):
        await over(handler).call(GET_AGENT, SCOUT, CallContext())
    assert len(seen) == 1


async def test_a_refused_connection_names_the_address_and_what_to_do() -> None:
    handler, _ = answering(httpx2.ConnectError("refused"))
    with pytest.raises(
        errors.ServiceUnavailable, match=r"Nothing answers at http://127.0.0.1:7000.*zejzl up"
    ):
        await over(handler).call(GET_AGENT, SCOUT, CallContext())


async def test_an_untrusted_certificate_is_told_apart_from_silence() -> None:
    handler, _ = answering(httpx2.ConnectError("[SSL: CERTIFICATE_VERIFY_FAILED] self-signed"))
    with pytest.raises(errors.ServiceUnavailable, match="ZEJZL_CA_FILE"):
        await over(handler, url="https://127.0.0.1:7000").call(GET_AGENT, SCOUT, CallContext())


@pytest.mark.parametrize("content", [None, "nothing"])
def test_a_file_without_an_authority_is_named(tmp_path: Path, content: str | None) -> None:
    path = tmp_path / "ca.pem"
    if content is not None:
        path.write_text(content)
    with pytest.raises(errors.InvalidInput, match=r"authority in .*ca\.pem"):
        HttpCaller("https://127.0.0.1:7000", ca_file=path)
    HttpCaller("http://127.0.0.1:7000", ca_file=path)  # not looked at


async def test_a_broken_connection_says_so() -> None:
    handler, _ = answering(httpx2.RemoteProtocolError("closed"))
    with pytest.raises(errors.ServiceUnavailable, match="broke during get_agent"):
        await over(handler).call(GET_AGENT, SCOUT, CallContext())


async def test_a_timeout_of_the_connection_is_the_deadline() -> None:
    handler, seen = answering(httpx2.ReadTimeout("slow"))
    with pytest.raises(errors.DeadlineExceeded, match=r"within 5\.0 s"):
        await over(handler).call(GET_AGENT, SCOUT, CallContext())
    assert len(seen) == 1


async def test_a_deadline_in_the_past_ends_the_call_without_an_answer() -> None:
    handler, _ = answering(httpx2.ReadTimeout("slow"))
    with pytest.raises(errors.DeadlineExceeded):
        await over(handler).call(GET_AGENT, SCOUT, CallContext(deadline_at_s=1.0))


async def test_a_success_that_is_not_the_reply_is_an_error() -> None:
    handler, seen = answering(httpx2.Response(200, content=b"<html>login</html>"))
    with pytest.raises(ZejzlError, match="something that is no Agent"):
        await over(handler).call(GET_AGENT, SCOUT, CallContext())
    assert len(seen) == 1


async def test_a_redirect_is_not_followed_with_the_token() -> None:
    handler, seen = answering(httpx2.Response(302, headers={"location": "http://elsewhere/"}))
    with pytest.raises(ZejzlError, match="302"):
        await over(handler).call(GET_AGENT, SCOUT, CallContext())
    assert len(seen) == 1


async def test_an_answer_that_cannot_be_decoded_is_an_error() -> None:
    async def nonsense() -> AsyncIterator[bytes]:
        yield b"no gzip"

    handler, _ = answering(httpx2.Response(200, content=nonsense(), headers={"content-encoding": "gzip"}))
    with pytest.raises(ZejzlError, match="cannot be decoded"):
        await over(handler).call(GET_AGENT, SCOUT, CallContext())


async def test_an_endless_answer_is_cut(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(http_caller, "MAX_REPLY_BYTES", 10)
    handler, _ = answering(httpx2.Response(200, content=b"x" * 11))
    with pytest.raises(errors.PayloadTooLarge, match="longer than 10 bytes"):
        await over(handler).call(GET_AGENT, SCOUT, CallContext())


@pytest.mark.parametrize(
    "address", ["", "127.0.0.1:7000", "ftp://x", "http://", "http://x/?a=1", "http://x:port", "http://x/#f"]
)
def test_an_address_that_cannot_be_used_is_refused_before_anything_is_sent(address: str) -> None:
    with pytest.raises(errors.InvalidInput, match="http://host:port"):
        HttpCaller(address)


def test_a_password_in_the_address_is_refused_and_not_repeated() -> None:
    with pytest.raises(errors.InvalidInput) as caught:
        HttpCaller("http://admin:hunter2@127.0.0.1")
    assert "hunter2" not in str(caught.value)


@pytest.mark.parametrize("token", ["", "two words", "line\nfeed", "ü"])
def test_a_token_that_no_header_can_carry_is_refused_and_not_repeated(token: str) -> None:
    with pytest.raises(errors.Unauthenticated, match="one word of printable ASCII") as caught:
        HttpCaller("http://127.0.0.1", SecretStr(token))
    assert token == "" or token not in str(caught.value)


@pytest.mark.parametrize(
    ("url", "expected"),
    [
        ("http://127.0.0.1:1", False),
        ("http://[::1]:1", False),
        ("http://localhost:1", False),
        ("http://pc2:1", True),
    ],
)
def test_this_machine_is_never_asked_through_a_proxy(url: str, expected: bool) -> None:
    assert HttpCaller(url)._client.trust_env is expected


async def test_whether_authentication_is_off_is_what_the_last_answer_said(
    make_agent: Callable[..., Agent],
) -> None:
    off = httpx2.Response(200, content=make_agent().model_dump_json(), headers={"Zejzl-Auth": "off"})
    handler, _ = answering(off, refused(errors.AgentNotFound("No agent 'Scout'.")))
    caller = over(handler)
    said = [caller.is_auth_off]
    await caller.call(GET_AGENT, SCOUT, CallContext())
    said.append(caller.is_auth_off)
    with pytest.raises(errors.AgentNotFound):
        await caller.call(GET_AGENT, SCOUT, CallContext())
    assert [*said, caller.is_auth_off] == [None, True, False]


@pytest.mark.parametrize(("header", "expected"), [({"Retry-After": "7"}, 7.0), ({}, 1.0)])
async def test_a_refusal_for_its_rate_says_how_long_to_wait(header: dict[str, str], expected: float) -> None:
    handler, _ = answering(refused(errors.RateLimited("Too many calls.", "Wait."), header))
    once = Patience(attempts=1)
    caller = HttpCaller(
        "http://127.0.0.1:7000", transport=httpx2.MockTransport(handler), timeout_s=5.0, patience=once
    )
    with pytest.raises(errors.RateLimited, match="Too many calls") as caught:
        await caller.call(GET_AGENT, SCOUT, CallContext())
    assert caught.value.retry_after_s == expected
