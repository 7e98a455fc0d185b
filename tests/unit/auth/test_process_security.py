"""The security of a process as a whole: from its start, through news and calls, to its stop."""

import asyncio
from collections.abc import Sequence

import pytest
from pydantic import SecretStr

from tests.unit.auth.process_bench import READ, SERVICE, WRITE, Ask, ProcessBench, public_key
from tests.unit.auth.quiet_gateway import QuietGateway
from zejzl_ray.auth import process_security
from zejzl_ray.auth.audit_store import StoreAuditSink
from zejzl_ray.auth.process_security import ProcessSecurity, SecurityOptions, SecurityPorts
from zejzl_ray.contracts.audit import AuditEntry, ReadAudit
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import CheckStatus
from zejzl_ray.errors import (
    Forbidden,
    SecurityFeedStale,
    ServiceUnavailable,
    StoreUnavailable,
    Unauthenticated,
)
from zejzl_ray.store.memory import MemoryStore

CHAIN = "store_room"


class Sink(StoreAuditSink):
    """Keeps a chain in memory; fails while it is away."""

    is_away = False

    async def append(self, entries: Sequence[AuditEntry]) -> None:
        if self.is_away:
            raise StoreUnavailable("the store is away")
        await super().append(entries)

    async def told(self) -> list[tuple[str, str]]:
        page = await self.read(ReadAudit(limit=1000))
        return [(entry.kind, entry.subject) for entry in page.entries]


@pytest.fixture
def bench() -> ProcessBench:
    return ProcessBench()


@pytest.fixture
def gateway(bench: ProcessBench) -> QuietGateway:
    return QuietGateway(bench)


@pytest.fixture
def sink(bench: ProcessBench) -> Sink:
    return Sink(MemoryStore(clock=bench.clock), own_chain=CHAIN)


def build(
    bench: ProcessBench, gateway: QuietGateway, sink: Sink, options: SecurityOptions | None = None
) -> ProcessSecurity:
    ports = SecurityPorts(feed=gateway, audit=sink, anchor=gateway.anchor, observations=gateway)
    return ProcessSecurity(SERVICE, CHAIN, ports, bench.clock, options)


async def test_before_the_first_news_nobody_is_admitted(
    bench: ProcessBench, gateway: QuietGateway, sink: Sink
) -> None:
    security = build(bench, gateway, sink)
    with pytest.raises(ServiceUnavailable):
        await security.admit(READ, Ask(), bench.call())
    feed, trail = security.checks()
    assert (feed.name, feed.status) == ("security_feed", CheckStatus.FAILED)
    assert (trail.name, trail.status) == ("audit_trail", CheckStatus.OK)


async def test_from_its_start_to_its_stop(bench: ProcessBench, gateway: QuietGateway, sink: Sink) -> None:
    security = build(bench, gateway, sink)
    security.launch()
    security.launch()  # does not follow twice
    await gateway.is_waiting.wait()
    admitted = await security.admit(WRITE, Ask(), bench.call("user:ada"))
    assert admitted.principal.subject == "user:ada"
    with pytest.raises(Forbidden):
        await security.admit(WRITE, Ask(), bench.call("user:bob", grants=()))
    assert [check.status for check in security.checks()] == [CheckStatus.OK, CheckStatus.OK]

    await security.stop()
    await security.stop()
    assert await sink.told() == [("started", ""), ("granted", "user:ada"), ("denied", "user:bob")]
    assert [head.index for head in gateway.anchors] == [3]
    assert [(one.kind, one.subject) for one in gateway.observed] == [("denied", "user:bob")]
    security.launch()  # after the end nothing begins again
    assert len(asyncio.all_tasks()) == 1


async def test_a_process_without_detectors_and_anchors_works_too(
    bench: ProcessBench, gateway: QuietGateway, sink: Sink
) -> None:
    security = ProcessSecurity(SERVICE, CHAIN, SecurityPorts(feed=gateway, audit=sink), bench.clock)
    security.launch()
    await gateway.is_waiting.wait()
    with pytest.raises(Unauthenticated):
        await security.admit(READ, Ask(), CallContext())
    await security.stop()
    assert [kind for kind, _ in await sink.told()] == ["started", "denied"]
    assert (gateway.anchors, gateway.observed) == ([], [])


async def test_a_stop_before_the_start_writes_what_was_told(
    bench: ProcessBench, gateway: QuietGateway, sink: Sink
) -> None:
    security = build(bench, gateway, sink)
    security.audit.record("denied", subject="user:ada")
    await security.stop()
    assert await sink.told() == [("denied", "user:ada")]


async def test_the_options_reach_the_check(bench: ProcessBench, gateway: QuietGateway, sink: Sink) -> None:
    options = SecurityOptions(issuer="elsewhere", is_required=False, max_feed_age_s=1.0)
    security = build(bench, gateway, sink, options)
    # a developer's machine: without a token everything, and with one that does not count nothing
    assert not security.guard.is_required
    off = security.checks()[-1]
    assert (off.name, off.status) == ("authentication", CheckStatus.DEGRADED)
    assert "ZEJZL_REQUIRE_AUTH" in off.reason
    assert (await security.admit(WRITE, Ask(), CallContext())).principal.subject == "user:dev"
    security.launch()
    await gateway.is_waiting.wait()
    with pytest.raises(Unauthenticated):
        await security.admit(READ, Ask(), bench.call())
    await security.stop()

    strict = build(bench, gateway := QuietGateway(bench), sink, SecurityOptions(max_feed_age_s=1.0))
    strict.launch()
    await gateway.is_waiting.wait()
    bench.clock.advance(1.5)
    assert (await strict.admit(READ, Ask(), bench.call())).principal.subject == "user:ada"
    with pytest.raises(SecurityFeedStale):
        await strict.admit(WRITE, Ask(), bench.call())
    assert strict.checks()[0].status is CheckStatus.DEGRADED
    await strict.stop()


async def test_a_token_of_an_unknown_key_makes_the_process_ask_for_the_keys(
    bench: ProcessBench, gateway: QuietGateway, sink: Sink
) -> None:
    security = build(bench, gateway, sink)
    security.launch()
    await gateway.is_waiting.wait()
    gateway.published = [public_key("k2", bench.key)]
    call = CallContext(token=SecretStr(bench.token(key_id="k2")))
    assert (await security.admit(READ, Ask(), call)).principal.subject == "user:ada"
    await security.stop()


async def test_an_audit_trail_that_cannot_be_written_shows_in_readiness(
    bench: ProcessBench, gateway: QuietGateway, sink: Sink
) -> None:
    security = build(bench, gateway, sink)
    sink.is_away = True
    await security.audit.start()
    _, trail = security.checks()
    assert (trail.status, trail.reason) == (CheckStatus.DEGRADED, "the store is away")
    sink.is_away = False
    await security.audit.flush()
    assert security.checks()[1].status is CheckStatus.OK
    await security.stop()


async def test_what_does_not_end_in_time_is_left_behind_and_the_trail_is_written(
    bench: ProcessBench, gateway: QuietGateway, sink: Sink, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(process_security, "_STOP_TIMEOUT_S", 0.001)
    gateway.is_stubborn = True
    security = build(bench, gateway, sink)
    security.launch()
    await gateway.is_waiting.wait()
    security.audit.record("denied", subject="user:ada")
    await security.stop()
    assert ("denied", "user:ada") in await sink.told()
    gateway.is_stubborn = False
    gateway.let_go.set()
