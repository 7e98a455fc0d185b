import pytest
from pydantic import SecretStr

from zejzl_ray.auth.bearer_door import MAX_HEADER_BYTES, BearerDoor, bearer_of
from zejzl_ray.auth.credential_exchange import CredentialExchange
from zejzl_ray.auth.token_verifier import UnknownKey
from zejzl_ray.contracts.access import NOBODY, AuthenticatedCall, Principal
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import GetHealth
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.contracts.services import health_operation
from zejzl_ray.contracts.tokens import IssueToken, Tokens
from zejzl_ray.errors import TokenRevoked, Unauthenticated
from zejzl_ray.testing import ManualClock

HEALTH = health_operation("error_bus")


class Guard:
    """Notes the tokens that it is shown; refuses those that are revoked."""

    def __init__(self) -> None:
        self.revoked: set[str] = set()
        self.shown: list[str | None] = []

    async def identify(self, call: CallContext, address: str = "") -> Principal:
        token = None if call.token is None else call.token.get_secret_value()
        self.shown.append(token)
        if token is None:
            raise Unauthenticated("no token")
        if token in self.revoked:
            raise TokenRevoked("revoked")
        return NOBODY

    async def admit(self, operation: Operation, request: Contract, call: CallContext) -> AuthenticatedCall:
        await self.identify(call)
        return AuthenticatedCall(token=call.token)


@pytest.fixture
def guard() -> Guard:
    return Guard()


@pytest.fixture
def door(guard: Guard) -> BearerDoor:
    issued = 0

    async def issue(request: IssueToken, address: str) -> Tokens:
        nonlocal issued
        issued += 1
        return Tokens(
            access_token=SecretStr(f"token-{issued}"), subject="program:x", scopes=(), audience="zejzl",
            issued_at_s=0, expires_at_s=1e12, session="s",
        )  # fmt: skip

    return BearerDoor(guard, CredentialExchange(issue, ManualClock()))


async def test_an_access_token_goes_to_the_guard_as_it_is(door: BearerDoor, guard: Guard) -> None:
    await door.admit(HEALTH, GetHealth(), CallContext(), b"Bearer a.b.c")
    call = await door.identify(CallContext(request_id="r1"), b"bearer  a.b.c ")
    assert guard.shown == ["a.b.c", "a.b.c"]
    assert call.token is not None
    assert (call.token.get_secret_value(), call.request_id) == ("a.b.c", "r1")


async def test_a_credential_is_exchanged_first(door: BearerDoor, guard: Guard) -> None:
    call = await door.identify(CallContext(), b"Bearer zk_x_y")
    assert call.token is not None
    assert call.token.get_secret_value() == "token-1"
    await door.admit(HEALTH, GetHealth(), CallContext(), b"Bearer zs_x_y")
    assert guard.shown == ["token-1", "token-2"]


async def test_a_kept_token_that_was_revoked_is_replaced_once(door: BearerDoor, guard: Guard) -> None:
    await door.identify(CallContext(), b"Bearer zk_x_y")
    guard.revoked = {"token-1"}
    await door.identify(CallContext(), b"Bearer zk_x_y")
    assert guard.shown == ["token-1", "token-1", "token-2"]
    guard.revoked |= {"token-2", "token-3"}
    with pytest.raises(TokenRevoked):
        await door.identify(CallContext(), b"Bearer zk_x_y")
    assert guard.shown[3:] == ["token-2", "token-3"]


async def test_a_kept_token_whose_key_was_taken_away_is_replaced(
    door: BearerDoor, guard: Guard, monkeypatch: pytest.MonkeyPatch
) -> None:
    await door.identify(CallContext(), b"Bearer zk_x_y")

    async def identify(call: CallContext, address: str = "") -> Principal:
        assert call.token is not None
        if call.token.get_secret_value() == "token-1":
            raise UnknownKey("not accepted", "", "old")
        return NOBODY

    monkeypatch.setattr(guard, "identify", identify)
    call = await door.identify(CallContext(), b"Bearer zk_x_y")
    assert call.token is not None
    assert call.token.get_secret_value() == "token-2"


async def test_without_a_header_the_guard_decides(door: BearerDoor, guard: Guard) -> None:
    with pytest.raises(Unauthenticated, match="no token"):
        await door.identify(CallContext(token=SecretStr("smuggled")), None)
    assert guard.shown == [None]


@pytest.mark.parametrize(
    "header",
    [b"", b"Bearer", b"Bearer ", b"Basic abc", b"abc", b"Bearer a b", b"Bearer a\tb", b"Bearer \xff\xfe",
     b"Bearer a\x7fb",
     b"Bearer " + b"x" * (MAX_HEADER_BYTES + 1)],
)  # fmt: skip
def test_another_header_is_refused_without_repeating_it(header: bytes) -> None:
    with pytest.raises(Unauthenticated) as caught:
        bearer_of(header)
    assert "abc" not in str(caught.value)
    assert caught.value.remedy
