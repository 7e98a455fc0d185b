"""A service and what is around it in its process, from start to stop, without a cluster."""

import asyncio
from collections.abc import Callable
from typing import Any

import pytest
from pydantic import SecretStr

from actors import shells
from actors.gateway_ports import own_ports
from actors.place import ServiceOptions
from tests.unit.actors.fake_access import FakeAccess
from tests.unit.auth.process_bench import ProcessBench
from tests.unit.auth.quiet_gateway import QuietGateway
from tests.unit.security.gateway_bench import CHEAP, MASTER_LINE, Bench, call
from zejzl_ray.auth.ports import AuditRecorder
from zejzl_ray.clock import SystemClock
from zejzl_ray.cluster.ports import free_ports
from zejzl_ray.contracts.access import AuthenticatedCall
from zejzl_ray.contracts.audit import ReadAudit
from zejzl_ray.contracts.call import CallContext
from zejzl_ray.contracts.health import CheckStatus, GetHealth
from zejzl_ray.contracts.life import Stopped
from zejzl_ray.contracts.services import BY_SERVICE, health_operation
from zejzl_ray.contracts.tokens import WhoAmI
from zejzl_ray.errors import ServiceUnavailable, Unauthenticated
from zejzl_ray.security.at_rest import MasterKeys
from zejzl_ray.security.config import SecurityConfig
from zejzl_ray.security.service import SecurityGateway
from zejzl_ray.settings import Settings
from zejzl_ray.shell import BareService
from zejzl_ray.store.protocol import Store

pytestmark = pytest.mark.usefixtures("fake_ray")


@pytest.fixture
def bench() -> ProcessBench:
    made = ProcessBench()
    made.clock.advance(SystemClock().now_s() - made.clock.now_s())  # the shells take the system's clock
    return made


@pytest.fixture
def accesses(bench: ProcessBench, monkeypatch: pytest.MonkeyPatch) -> list[FakeAccess]:
    made: list[FakeAccess] = []

    def access(*arguments: Any) -> FakeAccess:
        made.append(FakeAccess(QuietGateway(bench), *arguments))
        return made[-1]

    monkeypatch.setattr(shells, "GatewayAccess", access)
    monkeypatch.setattr(shells, "prepare_process", lambda *_: None)
    return made


@pytest.fixture
def options() -> ServiceOptions:
    port, other = free_ports(2)
    settings = Settings(store_url="memory", error_bus_port=port, security_port=other, namespace="ns")
    return ServiceOptions(settings, SecretStr("zs_x"))


async def eventually(is_so: Callable[[], bool]) -> None:
    async with asyncio.timeout(10):
        while not is_so():  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)


async def test_a_service_is_checked_served_and_audited_until_its_stop(
    accesses: list[FakeAccess], bench: ProcessBench, options: ServiceOptions
) -> None:
    hosted = shells.host("error_bus", options, BareService)
    (access,) = accesses
    assert (access.namespace, access.credential.get_secret_value()) == ("ns", "zs_x")
    service = await hosted.service()
    assert isinstance(service, BareService)
    await eventually(lambda: hosted.security.state.is_read)

    operation = health_operation("error_bus")
    admitted = await hosted.security.admit(operation, GetHealth(), bench.call("user:ada"))
    assert admitted.principal.subject == "user:ada"
    with pytest.raises(Unauthenticated):
        await hosted.security.admit(operation, GetHealth(), CallContext())
    health = await hosted.health()
    assert health.is_ready
    assert {check.name for check in health.checks} == {
        "store", "security_feed", "audit_trail", "health_port",
    }  # fmt: skip

    # what was told so far is written before it is shown
    page = await hosted.read_audit(ReadAudit())
    assert [entry.kind for entry in page.entries] == ["started", "denied"]
    assert [head.chain for head in (await hosted.list_audit_chains()).heads] == ["error_bus"]

    await eventually(lambda: bool(access.caller.asked))  # its presence
    assert await hosted.stop() == Stopped()
    assert await hosted.stop() == Stopped()
    assert access.log[0] == "closed"
    assert [head.chain for head in access.gateway.anchors] == ["error_bus"]
    with pytest.raises(ServiceUnavailable, match="stopping"):
        await hosted.service()


async def test_where_no_token_is_wanted_health_says_so(
    accesses: list[FakeAccess], options: ServiceOptions
) -> None:
    open_settings = options.settings.model_copy(update={"require_auth": False})
    hosted = shells.host("core_orchestrator", ServiceOptions(open_settings, options.credential), BareService)
    admitted = await hosted.security.admit(health_operation("core_orchestrator"), GetHealth(), CallContext())
    assert isinstance(admitted, AuthenticatedCall)
    checks = {check.name: check.status for check in (await hosted.health()).checks}
    assert checks["authentication"] is CheckStatus.DEGRADED
    assert "health_port" not in checks  # the ingress shows it
    await hosted.stop()


async def test_the_gateway_is_checked_with_news_from_itself_and_keeps_its_trail(
    accesses: list[FakeAccess], options: ServiceOptions
) -> None:
    master = MasterKeys.parse(MASTER_LINE)
    recorders: list[AuditRecorder] = []
    stores: list[Store] = []

    def build(store: Store, audit: AuditRecorder) -> SecurityGateway:
        stores.append(store)
        recorders.append(audit)
        return SecurityGateway(store, SystemClock(), SecurityConfig(), master, audit, hashing=CHEAP)

    hosted = shells.host_gateway("security_gateway", options, build, own_ports)
    gateway = await hosted.service()
    await eventually(lambda: hosted.security.state.is_read)
    # what it says of the tokens it gives out goes into the trail of its process
    assert recorders == [hosted.security.audit]
    issued = await gateway.issue_token(Bench().service_token("error_bus"), call())
    operation = BY_SERVICE["security_gateway"]["who_am_i"]
    admitted = await hosted.security.admit(operation, WhoAmI(), CallContext(token=issued.access_token))
    assert (await gateway.who_am_i(WhoAmI(), admitted)).subject == "service:error_bus"
    assert (await hosted.health()).is_ready
    await hosted.security.audit.flush()
    page = await gateway.read_audit(ReadAudit(chain="security_gateway.guard"), call())
    assert page.entries[0].kind == "started"

    await hosted.stop()
    assert hosted.security.audit.waiting == 0  # written while the gateway was still there
    assert accesses[0].log == ["closed"]


async def test_a_gateway_that_does_not_start_is_not_ready_and_says_why(
    accesses: list[FakeAccess], options: ServiceOptions
) -> None:
    def build(store: Store, audit: AuditRecorder) -> SecurityGateway:
        raise Unauthenticated("This machine has no master key.", "Copy it.")

    hosted = shells.host_gateway("security_gateway", options, build, own_ports)
    hosted._shell._ready_wait_s = 0.001  # so long the trail of its process waits for it
    async with asyncio.timeout(10):
        while "no master key" not in str((health := await hosted.health()).checks):  # noqa: ASYNC110 - it has no event
            await asyncio.sleep(0.001)
    assert not health.is_ready
    feed = next(check for check in health.checks if check.name == "security_feed")
    assert feed.status is CheckStatus.FAILED
    await hosted.stop()
