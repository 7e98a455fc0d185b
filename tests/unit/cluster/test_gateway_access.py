"""A process reaches the gateway and the services under its own name; here over handles of fake actors."""

from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import pytest
from pydantic import SecretStr

from zejzl_ray.cluster import actor_caller
from zejzl_ray.cluster.gateway_access import GatewayAccess
from zejzl_ray.contracts.access import NOBODY, AuthenticatedCall, Principal
from zejzl_ray.contracts.audit import ChainHead
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.services import health_operation
from zejzl_ray.contracts.tokens import CredentialGrant, Identity, IssueToken, Tokens, WhoAmI
from zejzl_ray.errors import Forbidden, LoginRefused, TokenRevoked, Unauthenticated
from zejzl_ray.testing import ManualClock

OWN = SecretStr("zs_core_orchestrator_secret")


class FakeActor:
    """A handle: takes every operation, exchanges credentials, and answers everything else with what is set."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.calls: list[tuple[str, Any, CallContext]] = []
        self.answers: dict[str, Any] = {}
        self.refused: set[str] = set()
        self.issued = 0

    def __getattr__(self, name: str) -> Any:
        async def remote(request: Any, call: CallContext) -> Any:
            self.calls.append((name, request, call))
            if name == "issue_token":
                return self._issue(request)
            token = None if call.token is None else call.token.get_secret_value()
            if token in self.refused:
                raise _raised(TokenRevoked("That token is revoked."))
            return self.answers[name]

        return SimpleNamespace(remote=remote)

    def _issue(self, request: IssueToken) -> Tokens:
        assert isinstance(request.grant, CredentialGrant)
        text = request.grant.credential.get_secret_value()
        if "wrong" in text:
            raise _raised(LoginRefused("The name, password or credential is not right."))
        self.issued += 1
        now_s = self.clock.now_s()
        return Tokens(
            access_token=SecretStr(f"a.{text}.{self.issued}"),
            subject="service:core_orchestrator",
            scopes=(),
            audience="zejzl",
            issued_at_s=now_s,
            expires_at_s=now_s + 900,
            session="s",
        )

    def tokens_of(self, name: str) -> list[str | None]:
        return [
            None if call.token is None else call.token.get_secret_value()
            for called, _, call in self.calls
            if called == name
        ]


def _raised(cause: Exception) -> Exception:
    from ray.exceptions import RayTaskError

    return RayTaskError("x", "a traceback", cause)


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def actor(clock: ManualClock, monkeypatch: pytest.MonkeyPatch) -> FakeActor:
    """Every service of the namespace ``ns``."""
    fake = FakeActor(clock)

    def find(service: str, namespace: str) -> FakeActor:
        assert namespace == "ns"
        return fake

    monkeypatch.setattr(actor_caller, "_named_actor", find)
    return fake


@pytest.fixture
def access(actor: FakeActor, clock: ManualClock) -> GatewayAccess:
    return GatewayAccess("ns", OWN, clock)


IDENTITY = Identity(subject="service:core_orchestrator", grants=(), session="s", expires_at_s=1.0)
HEALTH = health_operation("error_bus")


async def test_calls_carry_the_own_token_which_is_fetched_once(
    access: GatewayAccess, actor: FakeActor
) -> None:
    actor.answers = {"who_am_i": IDENTITY, "health": ServiceHealth(service="error_bus", is_ready=True)}
    await access.gateway.who_am_i(WhoAmI())
    await access.caller.call(HEALTH, GetHealth(), CallContext())
    own = f"a.{OWN.get_secret_value()}.1"
    assert (actor.tokens_of("who_am_i"), actor.tokens_of("health")) == ([own], [own])
    assert actor.tokens_of("issue_token") == [None]
    await access.close()
    await access.close()


async def test_a_call_in_somebody_elses_name_keeps_it(access: GatewayAccess, actor: FakeActor) -> None:
    actor.answers = {"who_am_i": IDENTITY}
    await access.gateway.who_am_i(WhoAmI(), CallContext(token=SecretStr("theirs")))
    assert actor.tokens_of("who_am_i") == ["theirs"]
    assert actor.issued == 0
    await access.close()


async def test_a_wrong_credential_is_refused_as_the_gateway_said(
    actor: FakeActor, clock: ManualClock
) -> None:
    access = GatewayAccess("ns", SecretStr("zs_wrong"), clock)
    with pytest.raises(LoginRefused):
        await access.gateway.who_am_i(WhoAmI())
    await access.close()


async def test_another_callers_proof_is_exchanged_with_the_address_that_the_door_saw(
    access: GatewayAccess, actor: FakeActor
) -> None:
    request = IssueToken(grant=CredentialGrant(credential=SecretStr("zk_theirs")))
    tokens = await access.issue_for(request, "192.0.2.7")
    assert tokens.access_token.get_secret_value() == "a.zk_theirs.2"
    _, _, call = actor.calls[-1]
    assert call.forwarded is not None
    assert (call.forwarded.address, call.forwarded.is_exchange) == ("192.0.2.7", True)
    assert call.forwarded.proof.get_secret_value() == f"a.{OWN.get_secret_value()}.1"
    assert call.token is None
    await access.issue_for(request, "")
    assert actor.calls[-1][2].forwarded is None
    await access.close()


class Checks:
    """A guard that knows the tokens of one credential alone."""

    def __init__(self) -> None:
        self.operations: list[str] = []

    async def admit(self, operation: Operation, request: Contract, call: CallContext) -> AuthenticatedCall:
        self.operations.append(operation.key)
        token = "" if call.token is None else call.token.get_secret_value()
        if not token:
            raise Unauthenticated("No token.")
        if "viewer" not in token:
            raise Forbidden("No right.")
        return AuthenticatedCall(token=call.token)

    async def identify(self, call: CallContext, address: str = "") -> Any:
        raise AssertionError("the health port admits, it does not identify")


async def test_the_health_port_is_opened_to_those_who_may_look(
    access: GatewayAccess, actor: FakeActor
) -> None:
    checks = Checks()
    admit = access.health_door("error_bus", checks)
    await admit("health", b"Bearer zk_viewer")
    await admit("metrics", b"Bearer zk_viewer")
    assert checks.operations == ["error_bus.health", "error_bus.metrics"]
    assert actor.issued == 1  # one exchange for both
    with pytest.raises(Unauthenticated):
        await admit("health", None)
    with pytest.raises(Forbidden):
        await admit("health", b"Bearer zk_other")
    with pytest.raises(LoginRefused):
        await admit("health", b"Bearer zk_wrong")
    await access.close()


class Sink:
    async def head(self, chain: str) -> ChainHead | None:
        return None

    async def append(self, entries: Sequence[Any]) -> None: ...


class Feed:
    async def watch(self, request: Any) -> Any: ...

    async def fetch_keys(self) -> Any: ...


async def test_the_ports_of_a_process_lead_to_the_gateway_unless_it_has_a_feed_of_its_own(
    access: GatewayAccess, actor: FakeActor
) -> None:
    from zejzl_ray.cluster.gateway_ports import GatewayFeed, GatewayObservations

    sink, own = Sink(), Feed()
    ports = access.ports(sink)
    assert ports.audit is sink
    assert isinstance(ports.feed, GatewayFeed)
    assert isinstance(ports.observations, GatewayObservations)
    assert ports.anchor == access.audit.anchor
    assert access.ports(sink, feed=own).feed is own
    await access.close()


class OwnToken:
    """A guard that hears first that a token was revoked."""

    def __init__(self, *revoked: str) -> None:
        self.revoked = revoked

    async def admit(self, operation: Operation, request: Contract, call: CallContext) -> AuthenticatedCall:
        raise NotImplementedError

    async def identify(self, call: CallContext, address: str = "") -> Principal:
        assert call.token is not None
        if call.token.get_secret_value() in self.revoked:
            raise TokenRevoked("revoked")
        return NOBODY


async def test_a_proof_that_was_revoked_is_renewed_before_anybody_is_told_something(
    access: GatewayAccess,
) -> None:
    first = (await access.proof()).get_secret_value()
    access.watch_own_token(OwnToken())
    assert (await access.proof()).get_secret_value() == first
    access.watch_own_token(OwnToken(first))
    assert (await access.proof()).get_secret_value() != first
    await access.close()
