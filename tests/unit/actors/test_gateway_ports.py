"""What the gateway's own process needs of the gateway, over the real one on a store in memory."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from actors.gateway_ports import master_keys, own_ports
from tests.unit.security.gateway_bench import MASTER_LINE, Bench, call
from zejzl_ray.auth.audit_chain import seal_all
from zejzl_ray.auth.audit_fact import make_fact
from zejzl_ray.auth.process_security import ProcessSecurity, SecurityPorts
from zejzl_ray.cluster.local_plan import MASTER_KEY_FILE
from zejzl_ray.contracts.audit import ReadAudit
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import CheckStatus
from zejzl_ray.contracts.security_feed import WatchFeed
from zejzl_ray.contracts.services import BY_SERVICE
from zejzl_ray.contracts.tokens import WhoAmI
from zejzl_ray.contracts.trust import ListSecurityEvents, Observation
from zejzl_ray.errors import ClusterError, NotFound, ZejzlError
from zejzl_ray.security.service import SecurityGateway
from zejzl_ray.settings import Settings

CHAIN = "security_gateway.guard"


@pytest.fixture
def bench() -> Bench:
    return Bench()


@pytest.fixture
async def gateway(bench: Bench) -> AsyncIterator[SecurityGateway]:
    async with bench.gateway() as running:
        yield running


@pytest.fixture
def ports(gateway: SecurityGateway) -> SecurityPorts:
    async def itself() -> SecurityGateway:
        return gateway

    return own_ports(itself)


async def test_keys_and_news_come_from_the_gateway_itself(
    ports: SecurityPorts, gateway: SecurityGateway
) -> None:
    batch = await ports.feed.watch(WatchFeed(epoch=0, revision=0, timeout_s=0))
    assert batch.is_whole
    keys = await ports.feed.fetch_keys()
    assert keys
    assert tuple(keys) == batch.keys


async def test_the_trail_of_the_process_is_kept_and_anchored_by_the_gateway(
    ports: SecurityPorts, gateway: SecurityGateway
) -> None:
    assert await ports.audit.head(CHAIN) is None
    fact = make_fact(1.0, "denied", "user:ada", "", "", "ok", "", "", "", 1, None)
    sealed = seal_all(None, CHAIN, [fact])
    await ports.audit.append(sealed)
    head = await ports.audit.head(CHAIN)
    assert head == sealed.head
    page = await gateway.read_audit(ReadAudit(chain=CHAIN), call())
    assert list(page.entries) == list(sealed)
    assert ports.anchor is not None
    await ports.anchor(sealed.head)
    own = await gateway.read_audit(ReadAudit(limit=1000), call())
    assert [entry.target for entry in own.entries if entry.kind == "anchor"] == [CHAIN]


async def test_refused_calls_reach_the_detectors(ports: SecurityPorts, gateway: SecurityGateway) -> None:
    assert ports.observations is not None
    seen = Observation(kind="login_failed", subject="user:ada", address="192.0.2.7", count=50, at_s=1.0)
    await ports.observations.report([seen])
    await gateway.tick()
    events = await gateway.list_security_events(ListSecurityEvents(), call())
    assert "brute_force" in {event.kind for event in events.events}


async def test_the_gateways_process_checks_the_tokens_that_it_gave_out(
    bench: Bench, gateway: SecurityGateway, ports: SecurityPorts
) -> None:
    security = ProcessSecurity("security_gateway", CHAIN, ports, bench.clock)
    operation = BY_SERVICE["security_gateway"]["who_am_i"]
    issued = await gateway.issue_token(bench.service_token("error_bus"), call())
    security.launch()
    async with asyncio.timeout(10):
        while not security.state.is_read:  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0)
    admitted = await security.admit(operation, WhoAmI(), CallContext(token=issued.access_token))
    assert admitted.principal.subject == "service:error_bus"
    assert security.checks()[0].status is CheckStatus.OK
    await security.stop()
    page = await gateway.read_audit(ReadAudit(chain=CHAIN), call())
    assert page.entries[0].kind == "started"


async def test_a_gateway_that_is_not_up_is_no_news() -> None:
    async def nobody() -> SecurityGateway:
        raise NotFound("not yet")

    with pytest.raises(ZejzlError, match="not yet"):
        await own_ports(nobody).feed.fetch_keys()


def test_master_keys_are_read_from_their_file_and_nowhere_else(tmp_path: Path) -> None:
    settings = Settings(data_dir=tmp_path)
    path = tmp_path / MASTER_KEY_FILE
    with pytest.raises(ZejzlError, match=r"zejzl up.*mode 600"):
        master_keys(settings)
    path.write_text(MASTER_LINE + "\n", encoding="utf-8")
    path.chmod(0o644)
    with pytest.raises(ClusterError, match="chmod 600"):
        master_keys(settings)
    path.chmod(0o600)
    keys = master_keys(settings)
    assert keys.derived("x") == Bench().master.derived("x")
    assert MASTER_LINE not in repr(keys)
