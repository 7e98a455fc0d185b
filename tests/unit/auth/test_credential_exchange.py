import asyncio

import pytest
from pydantic import SecretStr

from zejzl_ray.auth import credential_exchange
from zejzl_ray.auth.credential_exchange import CredentialExchange
from zejzl_ray.contracts.tokens import CredentialGrant, IssueToken, Tokens
from zejzl_ray.errors import LoginRefused, ServiceUnavailable, ZejzlError
from zejzl_ray.testing import ManualClock


class Gateway:
    """Issues tokens with numbers; refuses or is away when told."""

    def __init__(self, clock: ManualClock) -> None:
        self.clock = clock
        self.asked: list[tuple[str, str]] = []
        self.error: ZejzlError | None = None
        self.gate: asyncio.Event | None = None

    async def issue(self, request: IssueToken, address: str) -> Tokens:
        assert isinstance(request.grant, CredentialGrant)
        self.asked.append((request.grant.credential.get_secret_value(), address))
        if self.gate is not None:
            await self.gate.wait()
        if self.error is not None:
            raise self.error
        now_s = self.clock.now_s()
        return Tokens(
            access_token=SecretStr(f"token-{len(self.asked)}"), subject="program:x", scopes=(), audience="zejzl",
            issued_at_s=now_s, expires_at_s=now_s + 900, session="s",
        )  # fmt: skip


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def gateway(clock: ManualClock) -> Gateway:
    return Gateway(clock)


@pytest.fixture
def exchange(gateway: Gateway, clock: ManualClock) -> CredentialExchange:
    return CredentialExchange(gateway.issue, clock)


async def test_a_credential_is_exchanged_once_in_a_while(
    exchange: CredentialExchange, gateway: Gateway, clock: ManualClock
) -> None:
    assert await exchange.access_token("zk_a", "192.0.2.1") == "token-1"
    clock.advance(599)
    assert await exchange.access_token("zk_a") == "token-1"
    clock.advance(2)
    assert await exchange.access_token("zk_a") == "token-2"
    assert gateway.asked == [("zk_a", "192.0.2.1"), ("zk_a", "")]


async def test_callers_at_the_same_time_share_one_exchange(
    exchange: CredentialExchange, gateway: Gateway
) -> None:
    gateway.gate = asyncio.Event()
    callers = [asyncio.ensure_future(exchange.access_token("zk_a")) for _ in range(8)]
    await asyncio.sleep(0)
    callers[0].cancel()  # who goes away takes nothing from the others
    gateway.gate.set()
    assert await asyncio.gather(*callers[1:]) == ["token-1"] * 7
    assert len(gateway.asked) == 1


async def test_a_token_is_kept_while_the_gateway_is_away_until_it_expires(
    exchange: CredentialExchange, gateway: Gateway, clock: ManualClock
) -> None:
    await exchange.access_token("zk_a")
    gateway.error = ServiceUnavailable("away")
    clock.advance(899)
    assert await exchange.access_token("zk_a") == "token-1"
    clock.advance(1)
    with pytest.raises(ServiceUnavailable):
        await exchange.access_token("zk_a")


async def test_a_refused_credential_is_refused_again_without_asking_for_a_moment(
    exchange: CredentialExchange, gateway: Gateway, clock: ManualClock
) -> None:
    gateway.error = LoginRefused("no")
    for _ in range(3):
        with pytest.raises(LoginRefused):
            await exchange.access_token("zk_a")
    assert len(gateway.asked) == 1
    clock.advance(2)
    gateway.error = None
    assert await exchange.access_token("zk_a") == "token-2"


async def test_a_forgotten_token_is_asked_for_again(exchange: CredentialExchange) -> None:
    await exchange.access_token("zk_a")
    exchange.forget("zk_a")
    assert await exchange.access_token("zk_a") == "token-2"


async def test_what_is_kept_is_bounded_and_the_oldest_goes(
    exchange: CredentialExchange, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(credential_exchange, "MAX_KEPT", 2)
    for text in ("zk_a", "zk_b", "zk_a", "zk_c", "zk_a"):
        await exchange.access_token(text)
    assert [text for text, _ in gateway.asked] == ["zk_a", "zk_b", "zk_c"]
    await exchange.access_token("zk_b")
    assert len(gateway.asked) == 4
