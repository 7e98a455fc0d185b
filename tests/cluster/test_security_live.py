"""Security on a live cluster: keys that change, rights that end, and a gateway that dies, while callers work."""

import asyncio
import os
import secrets
import signal
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import httpx2
import pytest
from pydantic import SecretStr

from tests.cluster.eventually import eventually
from tests.cluster.system import System
from zejzl_ray.auth.signed_requests import read_header, sign_request, write_header
from zejzl_ray.cluster.actor_caller import ActorCaller
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.orchestrator import GetRegistryStatus
from zejzl_ray.contracts.people import CreateUser
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.contracts.tokens import (
    CreateCredential,
    CredentialGrant,
    IssueToken,
    ListSigningKeys,
    PasswordGrant,
    RevokeCredential,
    RevokeTokens,
    RotateKeys,
    Tokens,
)
from zejzl_ray.errors import (
    AgentNotFound,
    RateLimited,
    ServiceUnavailable,
    TokenRevoked,
    Unauthenticated,
    ZejzlError,
)
from zejzl_ray.ids import new_id
from zejzl_ray.sdk.async_client import AsyncClient
from zejzl_ray.sdk.connect import connect_async

CALLERS = 8
STATUS = BY_SERVICE["core_orchestrator"]["get_registry_status"]
SERVICES_STATUS: tuple[Operation, ...] = (STATUS, BY_SERVICE["error_bus"]["health"])


@pytest.fixture
async def admin(ray_cluster: System) -> AsyncIterator[AsyncClient]:
    client = connect_async("ray", token_file=ray_cluster.data_dir / "token")
    async with client:
        yield client


async def program(admin: AsyncClient, *, role: str = "viewer") -> tuple[str, SecretStr]:
    """Make a program and return its credential's id and text."""
    name = new_id("p").replace("-", "")
    made = await admin.security.create_credential(CreateCredential(subject=f"program:{name}", roles=(role,)))
    return made.credential.credential_id, made.secret


async def token_of(admin: AsyncClient, credential: SecretStr) -> Tokens:
    return await admin.security.issue_token(IssueToken(grant=CredentialGrant(credential=credential)))


class Workers:
    """Callers that read from two services over handles, each with the token that it is given, without a pause.

    Attributes:
        calls: how many were answered.
        failures: (time, error) of each that was not.
    """

    def __init__(self, namespace: str, next_token: Callable[[], Awaitable[SecretStr]]) -> None:
        self._caller = ActorCaller(namespace, timeout_s=10)
        self._next_token = next_token
        self.calls = 0
        self.last_success_s = 0.0
        self.failures: list[tuple[float, ZejzlError]] = []

    async def work(self, stop: asyncio.Event) -> None:
        while not stop.is_set():
            for operation in SERVICES_STATUS:
                call = CallContext(token=await self._next_token())
                try:
                    await self._caller.call(operation, operation.request(), call)
                except ZejzlError as error:
                    self.failures.append((time.monotonic(), error))
                    await asyncio.sleep(0.02)
                else:
                    self.calls += 1
                    self.last_success_s = time.monotonic()


@asynccontextmanager
async def working(workers: Workers) -> AsyncIterator[None]:
    stop = asyncio.Event()
    async with asyncio.TaskGroup() as group:
        for _ in range(CALLERS):
            group.create_task(workers.work(stop))
        try:
            yield
        finally:
            stop.set()


async def test_keys_change_while_eight_callers_work_and_none_of_their_calls_fails(
    ray_cluster: System, admin: AsyncClient
) -> None:
    _, credential = await program(admin)
    seen_keys: set[str] = set()

    async def next_token() -> SecretStr:
        # A new token every time: signed by the key before and by the one after the change.
        return (await token_of(admin, credential)).access_token

    workers = Workers(ray_cluster.info["namespace"], next_token)
    before = {key.kid: key.state for key in (await admin.security.list_signing_keys(ListSigningKeys())).keys}
    old = next(kid for kid, state in before.items() if state == "signing")
    async with working(workers):
        await eventually(lambda: _is(workers.calls > 40), within_s=30, what="callers work")
        await admin.security.rotate_keys(RotateKeys(reason="a test"))

        async def has_changed() -> bool:
            keys = (await admin.security.list_signing_keys(ListSigningKeys())).keys
            seen_keys.update(key.kid for key in keys)
            return any(key.state == "signing" and key.kid != old for key in keys)

        await eventually(has_changed, within_s=30, what="the next key signs")
        done = workers.calls
        await eventually(lambda: _is(workers.calls > done + 40), within_s=30, what="callers go on")
    assert workers.failures == []
    # What the old key has signed still counts: it stays published until its last token has expired.
    assert old in {key.kid for key in (await admin.security.list_signing_keys(ListSigningKeys())).keys}


async def test_a_revoked_principal_is_refused_within_a_second_and_the_others_never(
    ray_cluster: System, admin: AsyncClient
) -> None:
    credential_id, doomed = await program(admin)
    _, other = await program(admin)
    doomed_token = (await token_of(admin, doomed)).access_token
    other_token = (await token_of(admin, other)).access_token

    async def doomed_one() -> SecretStr:
        return doomed_token

    async def other_one() -> SecretStr:
        return other_token

    namespace = ray_cluster.info["namespace"]
    ending, staying = Workers(namespace, doomed_one), Workers(namespace, other_one)
    async with working(ending), working(staying):
        await eventually(lambda: _is(ending.calls > 40 and staying.calls > 40), within_s=30, what="all work")
        await admin.security.revoke_credential(RevokeCredential(credential_id=credential_id, reason="a test"))
        revoked_s = time.monotonic()
        await asyncio.sleep(2.5)
    assert staying.failures == []
    assert ending.failures
    assert all(isinstance(error, TokenRevoked) for _, error in ending.failures)
    assert ending.last_success_s - revoked_s < 1.0
    with pytest.raises(Unauthenticated):
        await token_of(admin, doomed)


async def test_the_gateway_dies_while_others_verify_and_what_it_knew_is_there_again(
    ray_cluster: System, admin: AsyncClient
) -> None:
    revoked_id, revoked = await program(admin)
    _, good = await program(admin)
    revoked_token = (await token_of(admin, revoked)).access_token
    good_token = (await token_of(admin, good)).access_token
    await admin.security.revoke_credential(RevokeCredential(credential_id=revoked_id))
    user = new_id("u").replace("-", "")
    password = SecretStr("four blue kettles on a roof")
    await admin.security.create_user(CreateUser(user=user, password=password))
    wrong = IssueToken(grant=PasswordGrant(user=user, password=SecretStr("wrong")))
    locked: RateLimited | None = None
    for _ in range(12):
        try:
            await admin.security.issue_token(wrong.model_copy(update={"request_id": new_id()}))
        except RateLimited as error:
            locked = error
            break
        except Unauthenticated:
            continue
    assert locked is not None
    gateway = await admin.service_health("security_gateway")
    caller = ActorCaller(ray_cluster.info["namespace"], timeout_s=10)

    async def next_token() -> SecretStr:
        return good_token

    workers = Workers(ray_cluster.info["namespace"], next_token)
    issue = BY_SERVICE["security_gateway"]["issue_token"]
    async with working(workers):
        await eventually(lambda: _is(workers.calls > 40), within_s=30, what="callers work")
        request = IssueToken(grant=CredentialGrant(credential=good))

        async def issue_now() -> ZejzlError | None:
            try:
                await caller.call(issue, request, CallContext(deadline_at_s=time.time() + 2.5))
            except ZejzlError as error:
                return error
            return None

        under_way = [asyncio.ensure_future(issue_now()) for _ in range(100)]
        await asyncio.sleep(0)
        os.kill(gateway.pid, signal.SIGKILL)
        # Who was being served hears that the gateway is away and that repeating is safe, or is served by the next one.
        errors: list[ZejzlError | None] = await asyncio.gather(*under_way)
        for answer in errors:
            assert answer is None or isinstance(answer, ServiceUnavailable)
            assert answer is None or answer.remedy
        await eventually(lambda: _issues(admin, good), within_s=40, what="tokens are issued again")
        # The list of revocations is there again before anything is answered.
        with pytest.raises(TokenRevoked):
            await caller.call(STATUS, GetRegistryStatus(), CallContext(token=revoked_token))
    assert workers.failures == []
    after = await admin.service_health("security_gateway")
    assert (after.pid != gateway.pid, after.epoch > gateway.epoch) == (True, True)
    with pytest.raises(Unauthenticated):
        await token_of(admin, revoked)
    # So is the lock-out. Had it been forgotten, three more would be looked at; so it is one at most.
    outcomes = []
    for _ in range(2):
        with pytest.raises((Unauthenticated, RateLimited)) as refused:
            await admin.security.issue_token(wrong.model_copy(update={"request_id": new_id()}))
        outcomes.append(type(refused.value))
    assert outcomes[-1] is RateLimited


async def test_everything_before_a_moment_can_be_revoked_and_everybody_comes_back(
    ray_cluster: System, admin: AsyncClient
) -> None:
    _, credential = await program(admin)
    old = (await token_of(admin, credential)).access_token
    caller = ActorCaller(ray_cluster.info["namespace"], timeout_s=10)
    await caller.call(STATUS, GetRegistryStatus(), CallContext(token=old))
    await admin.security.revoke_tokens(RevokeTokens(everything_before_s=time.time(), reason="a test"))

    async def is_refused() -> bool:
        try:
            await caller.call(STATUS, GetRegistryStatus(), CallContext(token=old))
        except TokenRevoked:
            return True
        return False

    await eventually(is_refused, within_s=3, what="old tokens are refused")
    new = (await token_of(admin, credential)).access_token
    await caller.call(STATUS, GetRegistryStatus(), CallContext(token=new))
    # The services themselves had old tokens too, and have renewed them.
    health = await admin.service_health("error_bus")
    assert health.is_ready

    async def all_ready() -> bool:
        found = [await admin.service_health(name) for name in ("resource_manager", "observability_hub")]
        return all(each.is_ready for each in found)

    await eventually(all_ready, within_s=10, what="all services are ready")


async def test_a_signed_request_counts_once_and_its_repetition_gets_the_stored_answer(
    ray_cluster: System, admin: AsyncClient
) -> None:
    made = await admin.security.create_credential(
        CreateCredential(subject="program:signer", roles=("operator",), is_signing=True)
    )
    body = b'{"name": "Signed", "port": 25077}'

    def header(body: bytes, nonce: str) -> dict[str, str]:
        grant = sign_request(
            made.credential.credential_id, made.secret, "POST", "/v1/agents", body,
            at_s=int(time.time()), nonce=nonce,
        )  # fmt: skip
        return {"authorization": write_header(grant), "content-type": "application/json"}

    nonce = secrets.token_urlsafe(16)
    first = header(body, nonce)
    async with httpx2.AsyncClient(base_url=ray_cluster.info["ingress"], timeout=20) as client:
        created = await client.post("/v1/agents", content=body, headers=first)
        assert created.status_code == 201, created.text
        repeated = await client.post("/v1/agents", content=body, headers=first)
        assert (repeated.status_code, repeated.content) == (201, created.content)
        # Another body under the signature, and another request under its nonce.
        other = b'{"name": "Forged", "port": 25078}'
        for headers in (first, header(other, nonce)):
            assert (await client.post("/v1/agents", content=other, headers=headers)).status_code == 401
    with pytest.raises(AgentNotFound):
        await admin.agent("Forged")
    await admin.deregister("Signed")
    # Who has seen the request gets no token of its credential.
    seen = read_header(first["authorization"], "POST", "/v1/agents", body)
    with pytest.raises(Unauthenticated):
        await admin.security.issue_token(IssueToken(grant=seen))


async def _is(value: bool) -> bool:
    return value


async def _issues(admin: AsyncClient, credential: SecretStr) -> bool:
    try:
        await token_of(admin, credential)
    except ZejzlError:
        return False
    return True
