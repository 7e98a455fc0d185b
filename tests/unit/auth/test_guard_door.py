"""The guard as the door in front of all services asks it."""

import pytest

from tests.unit.auth.process_bench import READ, Ask, ProcessBench
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.errors import Unauthenticated


@pytest.fixture
def bench() -> ProcessBench:
    made = ProcessBench()
    made.hear()
    return made


async def test_a_caller_with_a_token_for_one_service_is_known_at_the_door(bench: ProcessBench) -> None:
    token = bench.token("user:ada", audience="error_bus")
    principal = await bench.guard.identify(CallContext(token=token))
    assert principal.subject == "user:ada"


async def test_who_comes_without_a_token_is_refused_and_written_down(bench: ProcessBench) -> None:
    with pytest.raises(Unauthenticated):
        await bench.guard.identify(CallContext(), "192.0.2.7")
    (entry,) = bench.trail.of("denied")
    assert (entry["operation"], entry["address"]) == ("ingress.door", "192.0.2.7")


async def test_the_detectors_hear_from_where_a_caller_comes(bench: ProcessBench) -> None:
    call = CallContext(token=bench.token("user:ada"))
    for _ in range(3):
        await bench.guard.identify(call, "192.0.2.7")
    await bench.guard.identify(call)
    (seen,) = bench.observer.take()
    assert (seen.kind, seen.subject, seen.address, seen.count) == ("seen", "user:ada", "192.0.2.7", 3)


async def test_a_token_counts_for_the_service_of_the_operation(bench: ProcessBench) -> None:
    own = bench.token("user:ada", audience=READ.service)
    await bench.guard.admit(READ, Ask(), CallContext(token=own))
    with pytest.raises(Unauthenticated):
        await bench.guard.admit(
            READ, Ask(), CallContext(token=bench.token("user:ada", audience="resource_manager"))
        )
