"""Calls that came in by a front door: whose word about an address counts, and what the address leads to."""

from collections.abc import Callable
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from pydantic import SecretStr

from tests.unit.auth.process_bench import LIMITS, PUBLIC, READ, WRITE, Ask, ProcessBench
from zejzl_ray.contracts.call import CallContext, Forwarded
from zejzl_ray.contracts.policy import AddressPolicy
from zejzl_ray.contracts.security_feed import Revocation
from zejzl_ray.errors import Forbidden, RateLimited, Unauthenticated


@pytest.fixture
def bench() -> ProcessBench:
    made = ProcessBench()
    made.hear()
    return made


def came_from(bench: ProcessBench, address: str, subject: str = "user:ada", **options: Any) -> CallContext:
    return bench.call(subject).model_copy(update={"forwarded": bench.forwarded(address, **options)})


def deny(bench: ProcessBench, *networks: str) -> None:
    bench.hear(limits=LIMITS.model_copy(update={"addresses": AddressPolicy(deny=networks)}))


async def test_the_ingress_says_where_a_caller_is(bench: ProcessBench) -> None:
    call = came_from(bench, "10.0.0.5")
    admitted = await bench.guard.admit(WRITE, Ask(), call)
    assert (admitted.principal.subject, admitted.principal.address) == ("user:ada", "10.0.0.5")
    assert admitted.forwarded == call.forwarded
    assert bench.trail.of("granted")[0]["address"] == "10.0.0.5"


async def test_each_call_has_the_address_that_it_came_from(bench: ProcessBench) -> None:
    call = bench.call()
    for address in ("10.0.0.5", "10.0.0.6", "", "10.0.0.5"):
        forwarded = bench.forwarded(address) if address else None
        admitted = await bench.guard.admit(READ, Ask(), call.model_copy(update={"forwarded": forwarded}))
        assert admitted.principal.address == address


async def test_nobody_has_an_address_too(bench: ProcessBench) -> None:
    admitted = await bench.guard.admit(PUBLIC, Ask(), CallContext(forwarded=bench.forwarded("10.0.0.5")))
    assert (admitted.principal.subject, admitted.principal.address) == ("anonymous", "10.0.0.5")


async def test_an_address_without_the_ingresss_right_is_left_out_and_written_down(
    bench: ProcessBench,
) -> None:
    call = came_from(bench, "10.0.0.5", grants=["zejzl:other:report", "*:*:write"])
    admitted = await bench.guard.admit(READ, Ask(), call)
    assert admitted.principal.address == ""
    (entry,) = bench.trail.of("denied")
    assert (entry["subject"], entry["outcome"], entry["target"]) == (
        "service:ingress",
        "forbidden",
        "address",
    )
    assert "zejzl:address:report" in entry["reason"]
    assert [(one.kind, one.subject) for one in bench.observer.take()] == [("denied", "service:ingress")]


@pytest.mark.parametrize("fault", ["no token", "stranger", "expired", "revoked", "audience"])
async def test_a_forged_proof_is_left_out_and_written_down(bench: ProcessBench, fault: str) -> None:
    grants = ["zejzl:address:report"]
    ingress = "service:ingress"
    made: dict[str, Callable[[], str]] = {
        "no token": lambda: "a.b.c",
        "stranger": lambda: bench.token(ingress, grants, key=Ed25519PrivateKey.generate()),
        "expired": lambda: bench.token(
            ingress, grants, issued_at_s=1_699_999_000, not_before_s=1_699_999_000, expires_at_s=1_699_999_900
        ),
        "revoked": lambda: bench.token(ingress, grants, session="gone"),
        "audience": lambda: bench.token(ingress, grants, audience="error_bus"),
    }
    bench.hear(revocations=(Revocation(kind="session", value="gone", until_s=2e9),))
    forwarded = Forwarded(address="10.0.0.5", proof=SecretStr(made[fault]()))
    call = bench.call().model_copy(update={"forwarded": forwarded})
    admitted = await bench.guard.admit(READ, Ask(), call)
    assert admitted.principal.address == ""
    (entry,) = bench.trail.of("denied")
    assert (entry["subject"], entry["target"], entry["address"]) == ("", "address", "")
    assert forwarded.proof.get_secret_value() not in repr(entry)


async def test_a_callers_own_token_proves_no_address(bench: ProcessBench) -> None:
    call = bench.call("user:ada", ["*:*:read"])
    assert call.token is not None
    forwarded = Forwarded(address="127.0.0.1", proof=call.token)
    admitted = await bench.guard.admit(READ, Ask(), call.model_copy(update={"forwarded": forwarded}))
    assert admitted.principal.address == ""


async def test_before_the_first_news_no_address_is_known() -> None:
    bench = ProcessBench()
    call = CallContext(forwarded=bench.forwarded("10.0.0.5"))
    assert (await bench.guard.admit(PUBLIC, Ask(), call)).principal.address == ""
    assert bench.trail.entries == []


async def test_denied_addresses_come_in_nowhere(bench: ProcessBench) -> None:
    deny(bench, "10.0.0.0/24")
    for operation in (READ, PUBLIC):
        with pytest.raises(Forbidden, match=r"10\.0\.0\.5 are not taken: it is on the deny list"):
            await bench.guard.admit(operation, Ask(), came_from(bench, "10.0.0.5"))
    await bench.guard.admit(READ, Ask(), came_from(bench, "10.0.1.5"))
    observed = {(one.kind, one.address) for one in bench.observer.take()}
    assert observed == {("ip_blocked", "10.0.0.5")}


async def test_a_denied_address_cannot_fill_the_trail(bench: ProcessBench) -> None:
    deny(bench, "10.0.0.0/24")
    call = came_from(bench, "10.0.0.5")
    for _ in range(500):
        with pytest.raises(Forbidden):
            await bench.guard.admit(READ, Ask(), call)
    assert len(bench.trail.of("denied")) == 1


async def test_an_address_has_a_limit_over_all_its_callers_at_the_door(bench: ProcessBench) -> None:
    for _ in range(20):
        bench.guard.admit_address("10.0.0.5")
    with pytest.raises(RateLimited, match="20 a second"):
        bench.guard.admit_address("::ffff:10.0.0.5")
    bench.guard.admit_address("10.0.0.6")
    bench.guard.admit_address("")


async def test_an_address_has_a_limit_for_what_anybody_may_call(bench: ProcessBench) -> None:
    for _ in range(20):
        await bench.guard.admit(PUBLIC, Ask(), CallContext(forwarded=bench.forwarded("10.0.0.5")))
    with pytest.raises(RateLimited, match="20 a second"):
        await bench.guard.admit(PUBLIC, Ask(), CallContext(forwarded=bench.forwarded("::ffff:10.0.0.5")))
    await bench.guard.admit(PUBLIC, Ask(), CallContext(forwarded=bench.forwarded("10.0.0.6")))


async def test_behind_the_door_a_proved_caller_has_its_own_limit_alone(bench: ProcessBench) -> None:
    for number in range(50):
        await bench.guard.admit(READ, Ask(), came_from(bench, "10.0.0.5", f"user:u{number}"))


async def test_the_door_keeps_denied_addresses_out_and_says_so_in_the_trail(bench: ProcessBench) -> None:
    deny(bench, "10.9.0.0/16")
    with pytest.raises(Forbidden):
        bench.guard.admit_address("10.9.9.9")
    (entry,) = bench.trail.of("denied")
    assert entry["address"] == "10.9.9.9"


async def test_ten_thousand_addresses_hold_bounded_memory_and_keep_nobody_else_out(
    bench: ProcessBench,
) -> None:
    forwarded = bench.forwarded("10.0.0.1")
    for number in range(10_000):
        from_there = Forwarded(address=f"10.1.{number // 256}.{number % 256}", proof=forwarded.proof)
        with pytest.raises(Unauthenticated):
            await bench.guard.admit(READ, Ask(), CallContext(forwarded=from_there))
    assert len(bench.rates) <= 20_000
    assert len(bench.observer) <= 1029
    await bench.guard.admit(READ, Ask(), came_from(bench, "10.2.0.1"))
