"""The door of the ingress over real checks: keys, tokens, addresses and credentials."""

from collections.abc import AsyncIterator
from typing import Any

import pytest
from pydantic import SecretStr
from starlette.types import Receive, Scope, Send

from serve_apps.door import Door, GatewayDoor
from serve_apps.guarded import Guarded
from serve_apps.middleware.request_scope import RequestScopeMiddleware
from tests.unit.auth.process_bench import LIMITS, WRITE, Ask, ProcessBench
from tests.unit.auth.quiet_gateway import QuietGateway
from tests.unit.serve_apps.one_token_door import OneTokenDoor
from zejzl_ray.auth.audit_store import StoreAuditSink
from zejzl_ray.auth.credential_exchange import CredentialExchange
from zejzl_ray.auth.process_security import ProcessSecurity, SecurityOptions, SecurityPorts
from zejzl_ray.auth.signed_requests import sign_request
from zejzl_ray.contracts.access import AuthenticatedCall
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.policy import AddressPolicy
from zejzl_ray.contracts.services import health_operation
from zejzl_ray.contracts.tokens import CredentialGrant, IssueToken, SignatureGrant, Tokens
from zejzl_ray.errors import Forbidden, LoginRefused, RateLimited, TokenExpired, Unauthenticated
from zejzl_ray.store.memory import MemoryStore

CREDENTIAL = f"zk_{'ab' * 8}_{'cd' * 32}"
ADDRESS = "192.0.2.7"


class Access:
    """Stands for ``GatewayAccess``: exchanges one credential and every signature."""

    def __init__(self, bench: ProcessBench) -> None:
        self._bench = bench
        self.asked: list[tuple[IssueToken, str]] = []
        self.is_closed = False

    def watch_own_token(self, guard: object) -> None:
        self.guard = guard

    async def proof(self) -> SecretStr:
        return SecretStr("own")

    async def issue_for(self, request: IssueToken, address: str) -> Tokens:
        self.asked.append((request, address))
        grant = request.grant
        if isinstance(grant, CredentialGrant) and grant.credential.get_secret_value() != CREDENTIAL:
            raise LoginRefused("The name, password or credential is not right.", "Check it and try again.")
        now_s = self._bench.clock.now_s()
        return Tokens(
            access_token=SecretStr(self._bench.token("program:x")), subject="program:x", scopes=("*:*:*",),
            audience="zejzl", issued_at_s=now_s, expires_at_s=now_s + 900, session="s1",
        )  # fmt: skip

    def exchange(self) -> CredentialExchange:
        return CredentialExchange(self.issue_for, self._bench.clock)

    async def close(self) -> None:
        self.is_closed = True


class Entrance:
    """A door and what stands behind it."""

    def __init__(self, *, is_required: bool = True) -> None:
        self.bench = ProcessBench()
        self.gateway = QuietGateway(self.bench)
        self.access = Access(self.bench)
        sink = StoreAuditSink(MemoryStore(clock=self.bench.clock), own_chain="ingress")
        self.security = ProcessSecurity(
            "ingress",
            "ingress",
            SecurityPorts(feed=self.gateway, audit=sink),
            self.bench.clock,
            SecurityOptions(is_required=is_required),
        )
        access: Any = self.access
        self.door: Door = GatewayDoor(self.security, access)


@pytest.fixture
async def entrance() -> AsyncIterator[Entrance]:
    made = Entrance()
    await made.door.start()
    await made.gateway.is_waiting.wait()
    yield made
    await made.door.stop()


async def test_it_starts_and_stops_what_it_stands_on() -> None:
    entrance = Entrance()
    before = {check.name: check.status.value for check in entrance.door.checks()}
    assert before == {"security_feed": "failed", "audit_trail": "ok"}
    await entrance.door.start()
    await entrance.door.start()
    await entrance.gateway.is_waiting.wait()
    assert {check.status.value for check in entrance.door.checks()} == {"ok"}
    await entrance.door.stop()
    await entrance.door.stop()
    assert entrance.access.is_closed


async def test_an_access_token_goes_on_as_it_is(entrance: Entrance) -> None:
    token = entrance.bench.token()
    assert await entrance.door.identify(f"Bearer {token}".encode(), ADDRESS, "request-1") == token
    assert entrance.access.asked == []


async def test_a_token_that_was_let_in_is_looked_at_again(entrance: Entrance) -> None:
    token = entrance.bench.token(expires_at_s=int(entrance.bench.clock.now_s()) + 60)
    await entrance.door.identify(f"Bearer {token}".encode(), ADDRESS, "request-1")
    await entrance.door.recheck(token)
    entrance.bench.clock.advance(61)
    with pytest.raises(TokenExpired):
        await entrance.door.recheck(token)
    with pytest.raises(Unauthenticated):
        await entrance.door.recheck(None)


@pytest.mark.parametrize("header", [None, b"", b"Basic x", b"Bearer", b"Bearer x y", b"Bearer a.b.c"])
async def test_what_proves_nothing_is_refused(entrance: Entrance, header: bytes | None) -> None:
    assert entrance.door.is_required
    with pytest.raises(Unauthenticated):
        await entrance.door.identify(header, ADDRESS, "request-1")


async def test_a_credential_is_exchanged_once_with_the_address_it_came_from(entrance: Entrance) -> None:
    header = f"Bearer {CREDENTIAL}".encode()
    first = await entrance.door.identify(header, ADDRESS, "request-1")
    assert first is not None
    assert not first.startswith("zk_")
    assert await entrance.door.identify(header, ADDRESS, "request-1") == first
    assert [address for _, address in entrance.access.asked] == [ADDRESS]
    with pytest.raises(LoginRefused):
        await entrance.door.identify(f"Bearer zk_{'ab' * 8}_{'00' * 32}".encode(), ADDRESS, "request-1")


async def test_a_signature_is_exchanged_for_a_token(entrance: Entrance) -> None:
    grant = sign_request("ab" * 8, SecretStr("5a" * 32), "GET", "/v1/agents", b"", at_s=1_000, nonce="n" * 22)
    token = await entrance.door.exchange(grant, ADDRESS)
    assert (await entrance.door.identify(f"Bearer {token}".encode(), ADDRESS, "request-1")) == token
    ((request, address),) = entrance.access.asked
    assert isinstance(request.grant, SignatureGrant)
    assert address == ADDRESS


async def test_services_learn_the_address_with_the_ingress_own_proof(entrance: Entrance) -> None:
    forwarded = await entrance.door.forwarded(ADDRESS)
    assert forwarded is not None
    assert (forwarded.address, forwarded.proof.get_secret_value()) == (ADDRESS, "own")
    assert await entrance.door.forwarded("") is None


async def test_addresses_are_let_in_by_the_policy_and_counted(entrance: Entrance) -> None:
    entrance.door.enter("")
    for _ in range(LIMITS.address_rate.burst_per_s):
        entrance.door.enter(ADDRESS)
    with pytest.raises(RateLimited) as caught:
        entrance.door.enter(ADDRESS)
    assert caught.value.retry_after_s > 0
    entrance.door.enter("192.0.2.8")
    limits = LIMITS.model_copy(update={"addresses": AddressPolicy(deny=("192.0.2.0/24",))})
    entrance.bench.state = entrance.security.state
    entrance.bench.hear(limits=limits)
    with pytest.raises(Forbidden):
        entrance.door.enter("192.0.2.8")
    entrance.door.enter("198.51.100.1")


async def test_what_the_ingress_answers_itself_is_checked_here(entrance: Entrance) -> None:
    operation = health_operation("ingress")
    allowed = entrance.bench.call(grants=("ingress:health:read",))
    admitted = await entrance.door.admit(operation, Ask(), allowed, ADDRESS)
    assert isinstance(admitted, AuthenticatedCall)
    assert admitted.principal.address == ADDRESS
    for grants in ((), ("ingress:metrics:read",)):
        with pytest.raises(Forbidden):
            await entrance.door.admit(operation, Ask(), entrance.bench.call(grants=grants), ADDRESS)
    with pytest.raises(Unauthenticated):
        await entrance.door.admit(operation, Ask(), CallContext(), ADDRESS)


async def test_on_a_developers_machine_a_request_without_a_token_goes_on_without_one() -> None:
    entrance = Entrance(is_required=False)
    assert not entrance.door.is_required
    assert await entrance.door.identify(None, ADDRESS, "request-1") is None
    await entrance.door.recheck(None)
    await entrance.door.stop()


class Page:
    """An endpoint that notes that it ran."""

    def __init__(self) -> None:
        self.runs = 0

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self.runs += 1


@pytest.mark.parametrize("refused", [frozenset[str](), frozenset({WRITE.scope})])
async def test_a_guarded_endpoint_runs_for_those_who_may_and_for_nobody_else(refused: frozenset[str]) -> None:
    page, door = Page(), OneTokenDoor("t")
    door.refused_scopes = set(refused)
    app = RequestScopeMiddleware(Guarded(WRITE, page, door, ProcessBench().clock))
    scope: Any = {"type": "http", "method": "GET", "path": "/", "headers": [], "client": (ADDRESS, 1)}

    async def nothing(*_: object) -> Any:
        return None

    if refused:
        with pytest.raises(Forbidden):
            await app(scope, nothing, nothing)
    else:
        await app(scope, nothing, nothing)
    assert (page.runs, door.admitted) == ((0, []) if refused else (1, [WRITE.key]))
