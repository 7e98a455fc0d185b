"""Who is admitted to which operation, and what refused callers are told."""

import pickle
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from tests.unit.auth.process_bench import (
    LIMITS,
    OWN,
    PUBLIC,
    READ,
    SERVICE,
    WRITE,
    Ask,
    Inner,
    ProcessBench,
    operation,
    public_key,
)
from zejzl_ray.contracts.access import NOBODY, AuthenticatedCall, Principal, Standing, principal_of
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.policy import RatePolicy
from zejzl_ray.contracts.security_feed import Revocation
from zejzl_ray.errors import (
    Forbidden,
    RateLimited,
    SecurityFeedStale,
    ServiceUnavailable,
    TokenExpired,
    TokenRevoked,
    Unauthenticated,
)

RESTRICTED = Standing(
    subject="agent:X", score=0.12, level="restricted", can_write=False, rate_ratio=0.1, reason="many failures"
)


@pytest.fixture
def bench() -> ProcessBench:
    made = ProcessBench()
    made.hear()
    return made


def observed(bench: ProcessBench) -> list[tuple[str, str, int]]:
    return [(one.kind, one.subject, one.count) for one in bench.observer.take()]


async def test_a_proved_caller_with_the_scope_is_admitted(bench: ProcessBench) -> None:
    call = bench.call("user:ada", [f"{SERVICE}:boxes:read"], session="s7", token_id="t7")
    admitted = await bench.guard.admit(READ, Ask(), call)
    assert admitted.model_dump(exclude={"principal"}) == call.model_dump()
    assert admitted.token == call.token
    principal = principal_of(admitted)
    assert (principal.subject, principal.grants) == ("user:ada", (f"{SERVICE}:boxes:read",))
    assert (principal.session, principal.token_id, principal.address) == ("s7", "t7", "")
    assert principal.expires_at_s - principal.issued_at_s == 900
    assert bench.trail.counted == [("user:ada", f"{SERVICE}.read_box")]
    assert bench.trail.entries == []


async def test_a_grant_of_more_than_reading_is_written_down_one_by_one(bench: ProcessBench) -> None:
    for _ in range(2):
        await bench.guard.admit(WRITE, Ask(name="b1"), bench.call())
    assert bench.trail.counted == []
    (first, second) = bench.trail.of("granted")
    assert first == second
    assert (first["subject"], first["operation"], first["target"], first["request_id"]) == (
        "user:ada", f"{SERVICE}.write_box", "b1", "r1",
    )  # fmt: skip


async def test_what_is_admitted_survives_the_way_to_another_process(bench: ProcessBench) -> None:
    admitted = await bench.guard.admit(READ, Ask(), bench.call())
    assert pickle.loads(pickle.dumps(admitted)) == admitted
    assert admitted == AuthenticatedCall(
        **{name: getattr(admitted, name) for name in AuthenticatedCall.model_fields}
    )


async def test_a_principal_that_came_with_the_call_counts_for_nothing(bench: ProcessBench) -> None:
    boss = Principal(subject="user:boss", grants=("*:*:*",))
    with pytest.raises(Unauthenticated):
        await bench.guard.admit(READ, Ask(), AuthenticatedCall(principal=boss))
    assert (await bench.guard.admit(PUBLIC, Ask(), AuthenticatedCall(principal=boss))).principal == NOBODY
    call = bench.call("user:ada", ["*:*:read"])
    forged = AuthenticatedCall(token=call.token, principal=boss)
    assert (await bench.guard.admit(READ, Ask(), forged)).principal.subject == "user:ada"
    with pytest.raises(Forbidden):
        await bench.guard.admit(WRITE, Ask(), forged)


class TestWithoutAToken:
    async def test_anybody_may_call_a_public_operation(self, bench: ProcessBench) -> None:
        admitted = await bench.guard.admit(PUBLIC, Ask(), CallContext())
        assert principal_of(admitted) == NOBODY

    async def test_a_public_operation_goes_on_before_the_first_news(self) -> None:
        admitted = await ProcessBench().guard.admit(PUBLIC, Ask(), CallContext())
        assert admitted.principal == NOBODY

    async def test_public_operations_within_the_cluster_share_one_limit(self, bench: ProcessBench) -> None:
        for _ in range(50):
            await bench.guard.admit(PUBLIC, Ask(), CallContext())
        with pytest.raises(RateLimited):
            await bench.guard.admit(PUBLIC, Ask(), CallContext())

    async def test_nothing_else_may_be_called_and_the_answer_says_how_to_get_a_token(
        self, bench: ProcessBench
    ) -> None:
        with pytest.raises(Unauthenticated, match="has no token") as caught:
            await bench.guard.admit(READ, Ask(), CallContext(request_id="r9"))
        assert "zejzl login" in caught.value.remedy
        (entry,) = bench.trail.of("denied")
        assert (entry["outcome"], entry["request_id"], entry["subject"]) == ("unauthenticated", "r9", "")
        assert observed(bench) == [("unauthenticated", "", 1)]

    async def test_on_a_developers_machine_the_caller_is_the_developer(self) -> None:
        bench = ProcessBench(is_required=False)
        admitted = await bench.guard.admit(WRITE, Ask(), CallContext())
        assert (admitted.principal.subject, admitted.principal.grants) == ("user:dev", ("*:*:*",))
        assert bench.guard.is_required is False

    async def test_on_a_developers_machine_a_token_that_does_not_count_is_still_refused(self) -> None:
        bench = ProcessBench(is_required=False)
        bench.hear()
        with pytest.raises(Unauthenticated):
            await bench.guard.admit(READ, Ask(), CallContext(token=SecretStr("a.b.c")))
        with pytest.raises(Forbidden):
            await bench.guard.admit(WRITE, Ask(), bench.call("user:ada", ["*:*:read"]))


class TestWithATokenThatDoesNotCount:
    async def test_before_the_first_news_nobody_can_be_checked(self) -> None:
        bench = ProcessBench()
        with pytest.raises(ServiceUnavailable, match="not heard of the security gateway") as caught:
            await bench.guard.admit(READ, Ask(), bench.call())
        assert caught.value.remedy

    @pytest.mark.parametrize(
        ("claims", "error"),
        [
            ({"expires_at_s": 1_699_999_999, "issued_at_s": 1_699_999_900}, TokenExpired),
            ({"audience": "error_bus"}, Unauthenticated),
            ({"issued_at_s": 1_700_000_100, "not_before_s": 1_700_000_100}, Unauthenticated),
        ],
    )
    async def test_time_and_audience_are_checked(
        self, bench: ProcessBench, claims: dict[str, Any], error: type[Exception]
    ) -> None:
        if "expires_at_s" in claims:
            claims["not_before_s"] = claims["issued_at_s"]
        with pytest.raises(error):
            await bench.guard.admit(READ, Ask(), bench.call(**claims))
        (entry,) = bench.trail.of("denied")
        assert entry["outcome"] in {"token_expired", "unauthenticated"}
        assert bench.trail.counted == []

    async def test_a_token_for_this_service_alone_counts(self, bench: ProcessBench) -> None:
        await bench.guard.admit(READ, Ask(), bench.call(audience=SERVICE))

    async def test_a_token_ends_while_it_is_in_use(self, bench: ProcessBench) -> None:
        call = bench.call()
        await bench.guard.admit(READ, Ask(), call)
        bench.clock.advance(900)
        bench.hear()
        with pytest.raises(TokenExpired):
            await bench.guard.admit(READ, Ask(), call)

    @pytest.mark.parametrize(
        "revocation",
        [
            {"kind": "token", "value": "t1"},
            {"kind": "session", "value": "s1"},
            {"kind": "subject", "value": "user:ada", "before_s": 1_700_000_001},
            {"kind": "all", "before_s": 1_700_000_001},
        ],
    )
    async def test_a_revocation_holds_from_its_news_on(
        self, bench: ProcessBench, revocation: dict[str, Any]
    ) -> None:
        call = bench.call()
        await bench.guard.admit(READ, Ask(), call)
        bench.hear(revocations=(Revocation(until_s=2e9, **revocation),))
        with pytest.raises(TokenRevoked):
            await bench.guard.admit(READ, Ask(), call)

    async def test_the_token_stands_in_no_error_and_no_entry(self, bench: ProcessBench) -> None:
        call = bench.call("user:ada", ["*:*:read"])
        assert call.token is not None
        with pytest.raises(Forbidden) as caught:
            await bench.guard.admit(WRITE, Ask(), call)
        secret = call.token.get_secret_value()
        assert secret not in repr(caught.value)
        assert secret not in repr(bench.trail.entries)


class TestKeysThatAreNotKnownYet:
    async def test_a_new_key_is_fetched_once_and_the_call_goes_on(self, bench: ProcessBench) -> None:
        new = Ed25519PrivateKey.generate()
        bench.published.append(public_key("k2", new))
        for _ in range(3):
            call = CallContext(token=SecretStr(bench.token(key=new, key_id="k2")))
            await bench.guard.admit(READ, Ask(), call)
        assert bench.fetches == 1

    async def test_made_up_key_ids_cause_few_fetches(self, bench: ProcessBench) -> None:
        stranger = Ed25519PrivateKey.generate()
        for number in range(100):
            call = CallContext(token=SecretStr(bench.token(key=stranger, key_id=f"made-up-{number}")))
            with pytest.raises(Unauthenticated):
                await bench.guard.admit(READ, Ask(), call)
        assert bench.fetches == 1
        bench.clock.advance(6)
        call = CallContext(token=SecretStr(bench.token(key=stranger, key_id="made-up-7")))
        with pytest.raises(Unauthenticated):
            await bench.guard.admit(READ, Ask(), call)
        assert bench.fetches == 2

    async def test_a_token_of_another_key_under_a_known_id_causes_none(self, bench: ProcessBench) -> None:
        stranger = Ed25519PrivateKey.generate()
        with pytest.raises(Unauthenticated):
            await bench.guard.admit(READ, Ask(), CallContext(token=SecretStr(bench.token(key=stranger))))
        assert bench.fetches == 0

    async def test_a_process_without_a_way_to_keys_refuses(self, bench: ProcessBench) -> None:
        bench.state.keys = None
        call = CallContext(token=SecretStr(bench.token(key_id="k9")))
        with pytest.raises(Unauthenticated):
            await bench.guard.admit(READ, Ask(), call)


class TestScopes:
    async def test_a_caller_without_the_scope_is_told_which(self, bench: ProcessBench) -> None:
        with pytest.raises(Forbidden, match=f"user:ada lacks the scope {SERVICE}:boxes:write") as caught:
            await bench.guard.admit(WRITE, Ask(name="b1"), bench.call("user:ada", ["*:*:read"]))
        assert f"zejzl auth explain user:ada {SERVICE}.write_box" in caught.value.remedy
        (entry,) = bench.trail.of("denied")
        assert (entry["subject"], entry["target"], entry["outcome"]) == ("user:ada", "b1", "forbidden")
        assert observed(bench) == [("denied", "user:ada", 1)]

    async def test_its_own_thing_needs_the_own_scope_alone(self, bench: ProcessBench) -> None:
        call = bench.call("agent:X", [f"{SERVICE}:boxes:own"])
        await bench.guard.admit(OWN, Ask(name="X"), call)
        for name in ("Y", "x", "", "agent:X"):
            with pytest.raises(Forbidden, match="for what bears its own name"):
                await bench.guard.admit(OWN, Ask(name=name), call)

    async def test_bearing_the_name_without_the_own_scope_is_not_enough(self, bench: ProcessBench) -> None:
        with pytest.raises(Forbidden):
            await bench.guard.admit(OWN, Ask(name="X"), bench.call("agent:X", [f"{SERVICE}:other:own"]))

    async def test_the_scope_itself_reaches_everybodys(self, bench: ProcessBench) -> None:
        await bench.guard.admit(OWN, Ask(name="Y"), bench.call("user:ada", [f"{SERVICE}:boxes:write"]))

    async def test_the_name_may_stand_in_a_nested_model(self, bench: ProcessBench) -> None:
        nested = operation("write", own_scope=f"{SERVICE}:boxes:own", own_field="deep.owner", path="")
        call = bench.call("agent:X", [f"{SERVICE}:boxes:own"])
        await bench.guard.admit(nested, Ask(deep=Inner(owner="X")), call)
        assert bench.trail.of("granted")[0]["target"] == "X"
        with pytest.raises(Forbidden):
            await bench.guard.admit(nested, Ask(deep=Inner(owner="Y")), call)

    @pytest.mark.parametrize("field", ["many", "many.owner", "deep", "deep.missing", "name.owner"])
    async def test_a_field_that_holds_no_name_is_nobodys(self, bench: ProcessBench, field: str) -> None:
        odd = operation("write", own_scope=f"{SERVICE}:boxes:own", own_field=field)
        call = bench.call("agent:X", [f"{SERVICE}:boxes:own"])
        with pytest.raises(Forbidden):
            await bench.guard.admit(odd, Ask(name="X", many=(Inner(owner="X"),), deep=Inner(owner="X")), call)

    async def test_an_agent_with_a_users_name_is_not_that_user(self, bench: ProcessBench) -> None:
        of_user = operation("report", own_scope=f"{SERVICE}:self:report", own_field="user")
        grants = [f"{SERVICE}:self:report"]
        await bench.guard.admit(of_user, Ask(user="ada"), bench.call("user:ada", grants))
        with pytest.raises(Forbidden):
            await bench.guard.admit(of_user, Ask(user="ada"), bench.call("agent:ada", grants))


class TestOldNews:
    async def test_only_calm_operations_go_on(self, bench: ProcessBench) -> None:
        call = bench.call()
        bench.clock.advance(31)
        for calm in (READ, operation("report"), PUBLIC):
            await bench.guard.admit(calm, Ask(), call)
        for action in ("write", "admin", "own", "something"):
            with pytest.raises(SecurityFeedStale, match="31 s old"):
                await bench.guard.admit(operation(action), Ask(), call)

    async def test_with_new_news_everything_goes_on(self, bench: ProcessBench) -> None:
        call = bench.call()
        bench.clock.advance(31)
        with pytest.raises(SecurityFeedStale):
            await bench.guard.admit(WRITE, Ask(), call)
        bench.hear()
        await bench.guard.admit(WRITE, Ask(), call)

    async def test_they_are_in_the_trail_but_no_business_of_the_detectors(self, bench: ProcessBench) -> None:
        call = bench.call()
        bench.clock.advance(31)
        for _ in range(5):
            with pytest.raises(SecurityFeedStale):
                await bench.guard.admit(WRITE, Ask(), call)
        assert [entry["outcome"] for entry in bench.trail.of("denied")] == ["security_feed_stale"]
        assert observed(bench) == []


class TestStanding:
    async def test_a_change_holds_for_a_token_in_use(self, bench: ProcessBench) -> None:
        call = bench.call("agent:X")
        assert (await bench.guard.admit(WRITE, Ask(), call)).principal.standing.can_write
        bench.hear(standings=(RESTRICTED,))
        with pytest.raises(
            Forbidden, match=r"trust of agent:X is 0\.12, level restricted \(many failures\)"
        ) as caught:
            await bench.guard.admit(WRITE, Ask(), call)
        assert "zejzl trust show agent:X" in caught.value.remedy
        admitted = await bench.guard.admit(READ, Ask(), call)
        assert admitted.principal.standing == RESTRICTED
        bench.hear(standings=(Standing(subject="agent:X"),))
        assert (await bench.guard.admit(WRITE, Ask(), call)).principal.standing.can_write

    async def test_it_concerns_nobody_else(self, bench: ProcessBench) -> None:
        bench.hear(standings=(RESTRICTED,))
        await bench.guard.admit(WRITE, Ask(), bench.call("agent:Y"))
        await bench.guard.admit(WRITE, Ask(), bench.call("user:X"))

    async def test_it_narrows_its_own_things_too(self, bench: ProcessBench) -> None:
        bench.hear(standings=(RESTRICTED,))
        with pytest.raises(Forbidden, match="trust"):
            await bench.guard.admit(OWN, Ask(name="X"), bench.call("agent:X", [f"{SERVICE}:boxes:own"]))

    async def test_it_multiplies_the_rate(self, bench: ProcessBench) -> None:
        bench.hear(standings=(RESTRICTED,))
        call = bench.call("agent:X")
        for _ in range(5):  # a tenth of 50
            await bench.guard.admit(READ, Ask(), call)
        with pytest.raises(RateLimited, match="5 a second"):
            await bench.guard.admit(READ, Ask(), call)


class TestRates:
    async def test_a_subject_has_one_limit_over_all_its_tokens(self, bench: ProcessBench) -> None:
        for _ in range(50):
            await bench.guard.admit(READ, Ask(), bench.call())
        with pytest.raises(RateLimited) as caught:
            await bench.guard.admit(READ, Ask(), bench.call())
        assert caught.value.retry_after_s > 0
        await bench.guard.admit(READ, Ask(), bench.call("user:bob"))

    @pytest.mark.parametrize(("name", "limit"), [("agent:X", 3), ("agent:Y", 2), ("user:ada", 50)])
    async def test_the_rate_is_the_subjects_or_its_kinds_or_everybodys(
        self, bench: ProcessBench, name: str, limit: int
    ) -> None:
        rates = {
            "agent": RatePolicy(burst_per_s=2, sustained_per_min=100),
            "agent:X": RatePolicy(burst_per_s=3, sustained_per_min=100),
        }
        call = bench.call(name)
        bench.hear(limits=LIMITS.model_copy(update={"role_rates": rates}))
        for _ in range(limit):
            await bench.guard.admit(READ, Ask(), call)
        with pytest.raises(RateLimited, match=f"{limit} a second"):
            await bench.guard.admit(READ, Ask(), call)

    async def test_a_flood_is_written_down_once_a_minute_with_its_number(self, bench: ProcessBench) -> None:
        bench.hear(limits=LIMITS.model_copy(update={"rate": RatePolicy(burst_per_s=1, sustained_per_min=1)}))
        call = bench.call()
        await bench.guard.admit(READ, Ask(), call)
        for _ in range(30):
            with pytest.raises(RateLimited):
                await bench.guard.admit(READ, Ask(), call)
        bench.clock.advance(30)
        with pytest.raises(RateLimited):
            await bench.guard.admit(READ, Ask(), call)
        assert [entry["count"] for entry in bench.trail.of("denied")] == [1]
        bench.clock.advance(61)
        bench.hear()
        await bench.guard.admit(READ, Ask(), call)
        with pytest.raises(RateLimited):
            await bench.guard.admit(READ, Ask(), call)
        assert [entry["count"] for entry in bench.trail.of("denied")] == [1, 31]
        assert observed(bench) == [("rate_limited", "user:ada", 32)]

    async def test_floods_of_many_callers_need_bounded_memory(self, bench: ProcessBench) -> None:
        bench.hear(limits=LIMITS.model_copy(update={"rate": RatePolicy(burst_per_s=1, sustained_per_min=1)}))
        for number in range(1100):
            call = bench.call(f"user:u{number}")
            await bench.guard.admit(READ, Ask(), call)
            with pytest.raises(RateLimited):
                await bench.guard.admit(READ, Ask(), call)
        assert len(bench.guard._record._floods) == 1024

    async def test_refused_scopes_use_up_no_rate(self, bench: ProcessBench) -> None:
        call = bench.call("user:ada", ["*:*:read"])
        for _ in range(100):
            with pytest.raises(Forbidden):
                await bench.guard.admit(WRITE, Ask(), call)
        await bench.guard.admit(READ, Ask(), call)


async def test_what_is_kept_of_tokens_is_bounded(bench: ProcessBench) -> None:
    bench.guard._book._size = 10
    for number in range(25):
        await bench.guard.admit(READ, Ask(), bench.call(f"user:u{number}"))
    assert len(bench.guard._book) == 10


async def test_an_operation_without_a_name_in_its_request_has_no_target(bench: ProcessBench) -> None:
    for path in ("", "/v1/boxes", "/v1/boxes/{many}"):
        await bench.guard.admit(operation("write", path=path), Ask(name="b1"), bench.call())
    assert [entry["target"] for entry in bench.trail.of("granted")] == ["", "", ""]
