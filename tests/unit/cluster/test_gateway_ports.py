"""Feed, tokens, audit trail and observations of a process are operations of the gateway."""

from typing import Any

import pytest
from pydantic import SecretStr

from zejzl_ray.cluster.gateway_ports import GatewayAudit, GatewayFeed, GatewayIssuer, GatewayObservations
from zejzl_ray.cluster.security_gateway import SecurityGatewayClient
from zejzl_ray.contracts import audit, tokens
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.security_feed import WatchFeed
from zejzl_ray.contracts.security_gateway import OPERATIONS
from zejzl_ray.contracts.tokens import CredentialGrant, IssueToken, KeySetDocument, PublicKey
from zejzl_ray.contracts.trust import Observation

HEAD = audit.ChainHead(chain="ingress", index=3, hash="0" * 64)


class FakeCaller:
    """Answers with an instance of the operation's reply, or with what the test has set."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Any, CallContext]] = []
        self.answer: Contract | None = None

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        assert isinstance(request, operation.request)
        self.seen.append((operation.name, request, call))
        return self.answer or operation.reply.model_construct()

    async def close(self) -> None: ...


@pytest.fixture
def caller() -> FakeCaller:
    return FakeCaller()


@pytest.fixture
def client(caller: FakeCaller) -> SecurityGatewayClient:
    return SecurityGatewayClient(caller)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
async def test_every_operation_of_the_gateway_is_a_method(
    client: SecurityGatewayClient, caller: FakeCaller, operation: Operation
) -> None:
    request: Any = operation.request.model_construct()
    context = CallContext(request_id="r-1")
    reply = await getattr(client, operation.name)(request, context)
    assert isinstance(reply, operation.reply)
    assert caller.seen == [(operation.name, request, context)]


async def test_an_answer_of_another_kind_is_refused(
    client: SecurityGatewayClient, caller: FakeCaller
) -> None:
    caller.answer = HEAD
    with pytest.raises(TypeError, match="who_am_i answered ChainHead, not Identity"):
        await client.who_am_i(tokens.WhoAmI())


async def test_the_feed_is_watched_and_keys_are_fetched(
    client: SecurityGatewayClient, caller: FakeCaller
) -> None:
    request = WatchFeed(epoch=2, revision=7)
    await GatewayFeed(client).watch(request)
    assert caller.seen[0][:2] == ("watch_feed", request)
    key = PublicKey(kid="k", x="A" * 43)
    caller.answer = KeySetDocument(keys=(key,))
    assert await GatewayFeed(client).fetch_keys() == (key,)


async def test_tokens_are_issued(client: SecurityGatewayClient, caller: FakeCaller) -> None:
    request = IssueToken(grant=CredentialGrant(credential=SecretStr("zk_x")))
    await GatewayIssuer(client).issue(request)
    assert caller.seen[0][:2] == ("issue_token", request)


async def test_the_audit_trail_is_anchored_and_handed_over(
    client: SecurityGatewayClient, caller: FakeCaller
) -> None:
    port = GatewayAudit(client)
    await port.anchor(HEAD)
    request = audit.RecordAudit.model_construct(entries=(), request_id="r")
    await port.record(request)
    (first, anchored, _), (second, recorded, _) = caller.seen
    assert (first, anchored.head) == ("anchor_audit", HEAD)
    assert (second, recorded) == ("record_audit", request)


async def test_observations_are_handed_over(client: SecurityGatewayClient, caller: FakeCaller) -> None:
    seen = Observation(kind="denied", subject="agent:Scout", at_s=1.0)
    await GatewayObservations(client).report([seen])
    assert caller.seen[0][0] == "report_observations"
    assert caller.seen[0][1].observations == (seen,)
