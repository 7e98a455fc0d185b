"""Access tokens from a credential, renewed beside the calls that use them."""

import asyncio

import pytest
import structlog
from pydantic import SecretStr

from zejzl_ray.auth.token_source import TokenSource, token_kind
from zejzl_ray.contracts.tokens import CredentialGrant, IssueToken, Tokens
from zejzl_ray.errors import (
    DeadlineExceeded,
    InvalidInput,
    LoginRefused,
    RateLimited,
    ServiceUnavailable,
)
from zejzl_ray.testing import ManualClock

CREDENTIAL = SecretStr("zk_0123456789abcdef_" + "a" * 64)
LIFE_S = 900.0


class Gateway:
    """Issues ``t1``, ``t2`` ...; raises ``error`` when one is set, and waits while ``gate`` is closed."""

    def __init__(self, clock: ManualClock, *, skew_s: float = 0.0) -> None:
        self.clock = clock
        self.skew_s = skew_s
        self.error: BaseException | None = None
        self.gate = asyncio.Event()
        self.gate.set()
        self.asked: list[IssueToken] = []
        self.issued = 0

    async def issue(self, request: IssueToken) -> Tokens:
        self.asked.append(request)
        await self.gate.wait()
        if self.error is not None:
            raise self.error
        self.issued += 1
        now_s = self.clock.now_s() + self.skew_s
        return Tokens(
            access_token=SecretStr(f"t{self.issued}"),
            subject="agent:X",
            scopes=(),
            audience="zejzl",
            issued_at_s=now_s,
            expires_at_s=now_s + LIFE_S,
            session="c1",
        )


@pytest.fixture
def clock() -> ManualClock:
    return ManualClock()


@pytest.fixture
def gateway(clock: ManualClock) -> Gateway:
    return Gateway(clock)


@pytest.fixture
def source(gateway: Gateway, clock: ManualClock) -> TokenSource:
    return source_of(gateway, clock)


def source_of(gateway: Gateway, clock: ManualClock) -> TokenSource:
    async def sleep(wait_s: float) -> None:
        clock.advance(wait_s)

    return TokenSource(CREDENTIAL, gateway, clock, sleep=sleep)


async def text(source: TokenSource) -> str:
    return (await source.token()).get_secret_value()


async def settle() -> None:
    """Let tasks that can run do so."""
    for _ in range(5):
        await asyncio.sleep(0)


async def test_one_exchange_serves_many_calls(source: TokenSource, gateway: Gateway) -> None:
    assert await asyncio.gather(*(text(source) for _ in range(20))) == ["t1"] * 20
    assert await text(source) == "t1"
    assert len(gateway.asked) == 1
    grant = gateway.asked[0].grant
    assert isinstance(grant, CredentialGrant)
    assert grant.credential == CREDENTIAL


async def test_scopes_and_audience_are_asked_for(gateway: Gateway, clock: ManualClock) -> None:
    source = TokenSource(CREDENTIAL, gateway, clock, scopes=["*:*:read"], audience="error_bus")
    await source.token()
    assert (gateway.asked[0].scopes, gateway.asked[0].audience) == (("*:*:read",), "error_bus")


async def test_a_call_with_a_valid_token_never_waits_for_the_next(
    source: TokenSource, gateway: Gateway, clock: ManualClock
) -> None:
    await source.token()
    clock.advance(LIFE_S * 2 / 3 - 1)
    await source.token()
    await settle()
    assert len(gateway.asked) == 1
    clock.advance(2)
    gateway.gate.clear()
    assert [await text(source), await text(source)] == ["t1", "t1"]
    await settle()
    assert len(gateway.asked) == 2
    gateway.gate.set()
    await settle()
    assert await text(source) == "t2"


async def test_while_the_gateway_is_away_the_old_token_serves_until_its_end(
    source: TokenSource, gateway: Gateway, clock: ManualClock
) -> None:
    await source.token()
    gateway.error = ServiceUnavailable("away")
    with structlog.testing.capture_logs() as lines:
        for _ in range(299):
            clock.advance(LIFE_S / 300)
            assert await text(source) == "t1"
            await settle()
    assert len(lines) == 1  # said once
    clock.advance(LIFE_S / 300)
    with pytest.raises(ServiceUnavailable, match="away"):
        await source.token()
    gateway.error = None
    clock.advance(1)
    assert await text(source) == "t2"


async def test_shortly_before_its_end_a_token_is_renewed_first(
    source: TokenSource, gateway: Gateway, clock: ManualClock
) -> None:
    await source.token()
    clock.advance(LIFE_S - 2)
    assert await text(source) == "t2"


async def test_failed_exchanges_are_not_repeated_at_every_call(
    source: TokenSource, gateway: Gateway, clock: ManualClock
) -> None:
    gateway.error = ServiceUnavailable("away")
    for _ in range(50):
        with pytest.raises(ServiceUnavailable):
            await source.token()
    assert len(gateway.asked) == 1
    clock.advance(1)
    gateway.error = None
    assert await text(source) == "t1"


async def test_a_refused_credential_is_refused_for_5_s_without_asking(
    source: TokenSource, gateway: Gateway, clock: ManualClock
) -> None:
    gateway.error = LoginRefused("The name, password or credential is not right.", "Check it and try again.")
    for _ in range(4):
        with pytest.raises(LoginRefused, match="not right"):
            await source.token()
        clock.advance(1.2)
    assert len(gateway.asked) == 1
    clock.advance(1)
    gateway.error = None
    assert await text(source) == "t1"


async def test_other_absences_become_service_unavailable(source: TokenSource, gateway: Gateway) -> None:
    gateway.error = RateLimited("Too many.", "Wait.", 3.0)
    with pytest.raises(ServiceUnavailable, match="issues no token: Too many"):
        await source.token()


async def test_an_exchange_that_hangs_ends(
    source: TokenSource, gateway: Gateway, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("zejzl_ray.auth.token_source._EXCHANGE_TIMEOUT_S", 0.0)
    gateway.gate.clear()
    with pytest.raises(ServiceUnavailable, match="no token within"):
        await source.token()


async def test_who_is_cancelled_takes_the_token_from_nobody_else(
    source: TokenSource, gateway: Gateway
) -> None:
    gateway.gate.clear()
    first, second = asyncio.create_task(source.token()), asyncio.create_task(source.token())
    await settle()
    first.cancel()
    await settle()
    gateway.gate.set()
    assert (await second).get_secret_value() == "t1"
    assert len(gateway.asked) == 1


async def test_lives_count_from_the_arrival_whatever_the_gateways_clock_says(clock: ManualClock) -> None:
    source = source_of(Gateway(clock, skew_s=-7200), clock)
    assert [await text(source), await text(source)] == ["t1", "t1"]
    clock.advance(LIFE_S)
    assert await text(source) == "t2"


async def test_a_refused_token_is_renewed_once_for_all_who_held_it(
    source: TokenSource, gateway: Gateway, clock: ManualClock
) -> None:
    old = await source.token()
    clock.advance(10)
    renewed = await asyncio.gather(*(source.renewed(old) for _ in range(10)))
    assert {token.get_secret_value() for token in renewed} == {"t2"}
    assert (await source.renewed(old)).get_secret_value() == "t2"
    assert gateway.issued == 2


async def test_renewals_are_a_second_apart(source: TokenSource, clock: ManualClock) -> None:
    started_s = clock.monotonic_s()
    token = await source.token()
    for _ in range(5):
        token = await source.renewed(token)
    assert token.get_secret_value() == "t6"
    assert clock.monotonic_s() - started_s == pytest.approx(5.0)


async def test_a_renewal_says_that_the_gateway_is_away(
    source: TokenSource, gateway: Gateway, clock: ManualClock
) -> None:
    old = await source.token()
    gateway.error = ServiceUnavailable("away")
    for _ in range(2):
        with pytest.raises(ServiceUnavailable):
            await source.renewed(old)
    assert len(gateway.asked) == 2


async def test_a_closed_source_gives_no_new_tokens(source: TokenSource, gateway: Gateway) -> None:
    gateway.gate.clear()
    waiting = asyncio.create_task(source.token())
    await settle()
    await source.close()
    with pytest.raises(asyncio.CancelledError):
        await waiting
    with pytest.raises(ServiceUnavailable, match="closed"):
        await source.token()
    await source.close()


async def test_a_fault_of_the_issuer_in_the_background_is_logged(
    source: TokenSource, gateway: Gateway, clock: ManualClock
) -> None:
    await source.token()
    clock.advance(LIFE_S * 0.7)
    gateway.error = KeyError("bug")
    with structlog.testing.capture_logs() as lines:
        assert await text(source) == "t1"
        await settle()
    assert [line["error"] for line in lines] == ["KeyError"]


async def test_a_deadline_on_the_way_means_that_the_gateway_is_away(
    source: TokenSource, gateway: Gateway
) -> None:
    gateway.error = DeadlineExceeded("late")
    with pytest.raises(ServiceUnavailable, match="issues no token: late"):
        await source.token()


@pytest.mark.parametrize(
    ("looks", "kind"),
    [
        (CREDENTIAL.get_secret_value(), "credential"),
        ("zs_error_bus_" + "b" * 64, "service"),
        ("zr_" + "c" * 32 + "_" + "d" * 64, "refresh"),
        ("eyJh.eyJz.c2ln", "access"),
    ],
)
def test_a_text_shows_what_it_is(looks: str, kind: str) -> None:
    assert token_kind(looks) == kind


@pytest.mark.parametrize("looks", ["", "secret", "a.b", "a..c", "a.b.c.d", "ZK_abc"])
def test_a_text_that_is_none_of_them_is_not_repeated(looks: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        token_kind(looks)
    assert not looks or looks not in str(caught.value)
