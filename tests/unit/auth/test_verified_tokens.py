import pytest

from tests.unit.auth.tokens import ALICE, NOW_S, public, signed, verifier
from zejzl_ray.auth.claims import Claims
from zejzl_ray.auth.revocations import RevocationList
from zejzl_ray.auth.token_verifier import TokenVerifier, UnknownKey
from zejzl_ray.auth.verified_tokens import VerifiedTokens
from zejzl_ray.contracts.security_feed import Revocation
from zejzl_ray.errors import TokenExpired, TokenRevoked, Unauthenticated
from zejzl_ray.testing.clock import ManualClock

HERE = frozenset({"zejzl", "core_orchestrator"})


class Counting(TokenVerifier):
    """Counts how often a signature is looked at."""

    def __init__(self, inner: TokenVerifier, clock: ManualClock) -> None:
        super().__init__(inner.keys, clock)
        self.verified = 0

    def verify(self, token: str) -> Claims:
        self.verified += 1
        return super().verify(token)


class Bench:
    """A service's check of tokens, with everything that it depends on."""

    def __init__(self, size: int = 4096) -> None:
        self.clock = ManualClock()
        self.verifier = Counting(verifier(self.clock), self.clock)
        self.keys = self.verifier.keys
        self.revocations = RevocationList()
        self.tokens = VerifiedTokens(self.verifier, self.revocations, self.clock, size=size)

    def check(self, token: str) -> Claims:
        return self.tokens.check(token, HERE)


@pytest.fixture
def bench() -> Bench:
    return Bench()


def test_a_token_is_verified_once(bench: Bench) -> None:
    token = signed()
    first = bench.check(token)
    assert first == ALICE
    assert bench.check(token) is first
    assert bench.verifier.verified == 1


def test_a_remembered_token_expires_and_is_forgotten(bench: Bench) -> None:
    token = signed()
    bench.check(token)
    bench.clock.advance(900)
    with pytest.raises(TokenExpired):
        bench.check(token)
    assert len(bench.tokens) == 0


def test_expired_tokens_that_nobody_shows_any_more_are_forgotten_as_new_ones_come(bench: Bench) -> None:
    def renew() -> None:
        now_s = int(bench.clock.now_s())
        bench.check(signed(issued_at_s=now_s, not_before_s=now_s, expires_at_s=now_s + 900))

    for _ in range(10):
        renew()
        bench.clock.advance(600)  # two thirds of its life
    assert len(bench.tokens) == 2
    bench.clock.advance(900)
    renew()
    assert len(bench.tokens) == 1


def test_a_remembered_token_does_not_count_before_its_time(bench: Bench) -> None:
    token = signed(not_before_s=NOW_S + 5)
    bench.check(token)
    bench.clock._now_s -= 1  # what a correction of the machine's clock does
    with pytest.raises(Unauthenticated, match="not accepted"):
        bench.check(token)


def test_a_remembered_token_is_refused_for_another_audience(bench: Bench) -> None:
    token = signed(audience="core_orchestrator")
    bench.check(token)
    with pytest.raises(Unauthenticated, match="not accepted"):
        bench.tokens.check(token, frozenset({"zejzl", "error_bus"}))
    assert bench.check(token).audience == "core_orchestrator"


def test_a_remembered_token_is_revoked_with_the_next_check(bench: Bench) -> None:
    token = signed()
    bench.check(token)
    bench.revocations.add([Revocation(kind="session", value="s1", until_s=NOW_S + 900)])
    for _ in range(2):
        with pytest.raises(TokenRevoked):
            bench.check(token)
    assert bench.verifier.verified == 1


def test_revocations_of_others_leave_a_token_valid(bench: Bench) -> None:
    token = signed()
    bench.check(token)
    bench.revocations.add([Revocation(kind="token", value="t2", until_s=NOW_S + 900)])
    assert bench.check(token) == ALICE


def test_a_rotation_that_keeps_the_key_needs_no_new_verification(bench: Bench) -> None:
    token = signed()
    bench.check(token)
    bench.keys.replace([public("k1"), public("k3")])
    assert bench.check(token) == ALICE
    assert bench.verifier.verified == 1


def test_a_remembered_token_ends_with_its_key_and_comes_back_with_it(bench: Bench) -> None:
    token = signed()
    bench.check(token)
    bench.keys.replace([public("k2")])
    for _ in range(2):
        with pytest.raises(UnknownKey) as caught:
            bench.check(token)
        assert caught.value.kid == "k1"
    bench.keys.replace([public("k1")])
    assert bench.check(token) == ALICE
    assert bench.verifier.verified == 3


def test_wrong_tokens_are_not_remembered(bench: Bench) -> None:
    for number in range(100):
        with pytest.raises(Unauthenticated):
            bench.check(signed(token_id=f"t{number}")[:-20] + "A" * 20)
    assert len(bench.tokens) == 0


def test_what_is_no_text_is_refused(bench: Bench) -> None:
    nothing: list[str] = []
    with pytest.raises(Unauthenticated, match="malformed"):
        bench.check(nothing)  # type: ignore[arg-type] # callers without a type checker
    assert len(bench.tokens) == 0


def test_so_many_tokens_are_remembered_and_the_least_used_goes_first() -> None:
    bench = Bench(size=3)
    tokens = [signed(token_id=f"t{number}") for number in range(4)]
    for token in (tokens[0], tokens[1], tokens[2], tokens[0], tokens[3]):
        bench.check(token)
    assert len(bench.tokens) == 3
    bench.check(tokens[0])
    assert bench.verifier.verified == 4
    bench.check(tokens[1])
    assert bench.verifier.verified == 5
