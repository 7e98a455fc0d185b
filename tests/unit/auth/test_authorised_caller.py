"""A caller that proves who it is."""

import pytest
from pydantic import SecretStr

from tests.unit.auth.process_bench import PUBLIC, READ, Ask
from zejzl_ray.auth.authorised_caller import AuthorisedCaller
from zejzl_ray.contracts.base import Contract
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.operation import Operation
from zejzl_ray.errors import Forbidden, LoginRefused, TokenExpired, TokenRevoked, Unauthenticated, ZejzlError


class Services:
    """Take the tokens of ``good``; raise ``refusal`` otherwise."""

    def __init__(self) -> None:
        self.good = {"t1"}
        self.refusal: ZejzlError = TokenExpired("over")
        self.calls: list[CallContext] = []
        self.is_closed = False

    async def call(self, operation: Operation, request: Contract, call: CallContext) -> Contract:
        self.calls.append(call)
        token = None if call.token is None else call.token.get_secret_value()
        if not operation.is_public and token not in self.good:
            raise self.refusal
        return request

    async def close(self) -> None:
        self.is_closed = True

    @property
    def tokens(self) -> list[str | None]:
        return [None if call.token is None else call.token.get_secret_value() for call in self.calls]


class Purse:
    """Gives ``t1``, and after a renewal what a test has set."""

    def __init__(self) -> None:
        self.next = "t2"
        self.renewals = 0
        self.is_closed = False

    async def token(self) -> SecretStr:
        return SecretStr("t1")

    async def renewed(self, old: SecretStr) -> SecretStr:
        self.renewals += 1
        return SecretStr(self.next)

    async def close(self) -> None:
        self.is_closed = True


@pytest.fixture
def services() -> Services:
    return Services()


@pytest.fixture
def purse() -> Purse:
    return Purse()


@pytest.fixture
def caller(services: Services, purse: Purse) -> AuthorisedCaller:
    return AuthorisedCaller(services, purse)


async def test_a_call_without_a_token_gets_one(caller: AuthorisedCaller, services: Services) -> None:
    call = CallContext(request_id="r1", deadline_at_s=5.0)
    assert await caller.call(READ, Ask(name="x"), call) == Ask(name="x")
    assert services.tokens == ["t1"]
    assert services.calls[0].model_dump(exclude={"token"}) == call.model_dump(exclude={"token"})


async def test_a_call_that_is_passed_on_keeps_its_callers_token(
    caller: AuthorisedCaller, services: Services, purse: Purse
) -> None:
    with pytest.raises(TokenExpired):
        await caller.call(READ, Ask(), CallContext(token=SecretStr("theirs")))
    assert services.tokens == ["theirs"]
    assert purse.renewals == 0


async def test_public_operations_need_no_token(caller: AuthorisedCaller, services: Services) -> None:
    await caller.call(PUBLIC, Ask(), CallContext())
    assert services.tokens == [None]


@pytest.mark.parametrize("refusal", [TokenExpired("x"), TokenRevoked("x"), Unauthenticated("x")])
async def test_a_refused_token_is_renewed_and_the_call_repeated(
    caller: AuthorisedCaller, services: Services, refusal: ZejzlError
) -> None:
    services.good, services.refusal = {"t2"}, refusal
    await caller.call(READ, Ask(), CallContext(request_id="r1"))
    assert services.tokens == ["t1", "t2"]
    assert {call.request_id for call in services.calls} == {"r1"}


async def test_it_renews_once_a_call(caller: AuthorisedCaller, services: Services, purse: Purse) -> None:
    services.good = set()
    with pytest.raises(TokenExpired):
        await caller.call(READ, Ask(), CallContext())
    assert services.tokens == ["t1", "t2"]
    assert purse.renewals == 1


async def test_without_another_token_the_call_is_not_repeated(
    caller: AuthorisedCaller, services: Services, purse: Purse
) -> None:
    services.good, purse.next = set(), "t1"
    with pytest.raises(TokenExpired):
        await caller.call(READ, Ask(), CallContext())
    assert services.tokens == ["t1"]


@pytest.mark.parametrize("refusal", [Forbidden("no"), LoginRefused("no")])
async def test_what_a_new_token_cannot_mend_is_passed_on(
    caller: AuthorisedCaller, services: Services, purse: Purse, refusal: ZejzlError
) -> None:
    services.good, services.refusal = set(), refusal
    with pytest.raises(type(refusal)):
        await caller.call(READ, Ask(), CallContext())
    assert purse.renewals == 0


async def test_closing_closes_both(caller: AuthorisedCaller, services: Services, purse: Purse) -> None:
    await caller.close()
    assert (services.is_closed, purse.is_closed) == (True, True)
