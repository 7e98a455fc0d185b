"""How a service actor is started, and what its process learns, over a stand-in for Ray's few functions."""

import asyncio
import os
from pathlib import Path
from typing import Any

import pytest
from pydantic import SecretStr
from structlog.testing import capture_logs

from actors import place, shells
from actors.place import ServiceOptions, end_process, own_identity, start_service
from tests.unit.actors.fake_ray import FakeRay
from zejzl_ray.auth.process_security import ProcessSecurity
from zejzl_ray.cluster.names import MACHINE_LABEL, SERVICES
from zejzl_ray.cluster.topology import PLACES
from zejzl_ray.errors import ClusterError, StoreUnavailable
from zejzl_ray.log import LogFiles
from zejzl_ray.settings import Settings
from zejzl_ray.shell import BareService, Identity, ServiceShell
from zejzl_ray.store import Durability, MemoryStore
from zejzl_ray.testing.clock import ManualClock


def shell_of(service: str, options: ServiceOptions) -> ServiceShell[BareService]:
    """Build a bare service of this name as its actor does, without its background work."""
    return shells.host(service, options, BareService)._shell


@pytest.fixture(autouse=True)
def no_background(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ProcessSecurity, "launch", lambda _: None)


@pytest.fixture
def options() -> ServiceOptions:
    return ServiceOptions(Settings(store_url="memory"), SecretStr("hunter2"))


def test_a_service_outlives_its_starter_and_is_restarted_for_ever(
    fake_ray: FakeRay, options: ServiceOptions
) -> None:
    handle: Any = start_service(BareService, PLACES["error_bus"], options, namespace="ns")
    assert handle == (BareService, (options,))
    given = fake_ray.options_given
    assert (given["name"], given["namespace"], given["lifetime"]) == ("error_bus", "ns", "detached")
    assert (given["max_restarts"], given["max_task_retries"], given["get_if_exists"]) == (-1, 0, True)
    assert given["label_selector"] == {MACHINE_LABEL: "pc2"}
    assert given["enable_task_events"] is False  # a service is called for ever; nobody looks at each call


def test_the_token_is_not_shown(options: ServiceOptions) -> None:
    assert "hunter2" not in repr(options)


@pytest.mark.usefixtures("fake_ray")
def test_a_process_learns_where_it_is_from_ray() -> None:
    assert own_identity("error_bus") == Identity("error_bus", "pc2", "n1")


def test_a_replaced_process_ends_with_its_reason(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    codes: list[int] = []
    monkeypatch.setattr(os, "_exit", codes.append)
    end_process("a newer instance has taken over")
    assert codes == [1]
    shown = capsys.readouterr()
    assert "a newer instance has taken over" in shown.out + shown.err


@pytest.mark.parametrize("service", SERVICES)
@pytest.mark.usefixtures("fake_ray")
async def test_the_shell_opens_the_services_own_store(monkeypatch: pytest.MonkeyPatch, service: str) -> None:
    launched: list[ServiceShell[Any]] = []
    monkeypatch.setattr(shells, "prepare_process", lambda *_: None)
    given = ServiceOptions(Settings(store_url="memory"), SecretStr("t"))
    monkeypatch.setattr(ServiceShell, "launch", lambda shell: launched.append(shell))  # noqa: PLW0108 - binds the shell
    shell = shell_of(service, given)
    assert launched == [shell]
    names = [check.name for check in (await shell.health()).checks]
    ports = [] if service == "core_orchestrator" else ["health_port"]
    assert names == ["started", "security_feed", "audit_trail", *ports]
    store = await shell._open_store()
    assert isinstance(store, MemoryStore)


async def test_a_store_of_one_machine_is_not_opened_while_there_are_two(
    monkeypatch: pytest.MonkeyPatch, fake_ray: FakeRay, options: ServiceOptions
) -> None:
    monkeypatch.setattr(ServiceShell, "launch", lambda shell: None)
    monkeypatch.setattr(shells, "prepare_process", lambda *_: None)
    shell = shell_of("error_bus", options)
    fake_ray.alive = {"10.0.0.1": True, "10.0.0.2": True}
    with pytest.raises(ClusterError, match="ZEJZL_STORE_URL"):
        await shell._open_store()
    fake_ray.alive["10.0.0.2"] = False
    assert isinstance(await shell._open_store(), MemoryStore)


class AskedStore(MemoryStore):
    """A store that has to ask its server what it promises, as Redis does."""

    answer: Durability | Exception | None = None

    async def describe_durability(self) -> Durability:  # type: ignore[override]  # the protocol allows both
        if isinstance(self.answer, Exception):
            raise self.answer
        if self.answer is None:
            await asyncio.Event().wait()
            raise AssertionError("the wait has no end")
        return self.answer


@pytest.mark.usefixtures("fake_ray")
async def test_a_service_logs_what_its_store_promises_and_each_weak_point(
    monkeypatch: pytest.MonkeyPatch, options: ServiceOptions
) -> None:
    monkeypatch.setattr(ServiceShell, "launch", lambda shell: None)
    monkeypatch.setattr(shells, "prepare_process", lambda *_: None)
    shell = shell_of("error_bus", options)
    with capture_logs() as lines:
        await shell._open_store()
    told = [(line["log_level"], line.get("durability") or line["reason"]) for line in lines]
    assert told == [
        ("info", "memory: nothing reaches a disk"),
        ("warning", "everything is lost when the process ends"),
    ]
    assert {line["store_of"] for line in lines} == {"error_bus"}


async def test_a_store_that_has_to_ask_is_waited_for() -> None:
    store = AskedStore(clock=ManualClock())
    store.answer = Durability("redis: synced", ("weak", "weaker"))
    with capture_logs() as lines:
        await shells.log_durability(store, "error_bus")
    assert [line["log_level"] for line in lines] == ["info", "warning", "warning"]
    assert [line["reason"] for line in lines[1:]] == ["weak", "weaker"]


@pytest.mark.parametrize(("answer", "said"), [(StoreUnavailable("away"), "away"), (None, "TimeoutError")])
async def test_a_store_that_does_not_say_what_it_promises_is_used_all_the_same(
    answer: Exception | None, said: str
) -> None:
    store = AskedStore(clock=ManualClock())
    store.answer = answer
    with capture_logs() as lines:
        await shells.log_durability(store, "error_bus", timeout_s=0.001)
    (line,) = lines
    assert (line["log_level"], line["event"]) == ("warning", "durability of the store is not known")
    assert said in line["reason"]


@pytest.mark.usefixtures("fake_ray")
async def test_a_store_is_closed_when_its_opening_is_cancelled(
    monkeypatch: pytest.MonkeyPatch, options: ServiceOptions
) -> None:
    store, opened = AskedStore(clock=ManualClock()), asyncio.Event()

    async def open_store(*_: object, **__: object) -> AskedStore:
        opened.set()
        return store

    monkeypatch.setattr(ServiceShell, "launch", lambda shell: None)
    monkeypatch.setattr(shells, "prepare_process", lambda *_: None)
    monkeypatch.setattr(shells, "open_store", open_store)
    opening = asyncio.ensure_future(shell_of("error_bus", options)._open_store())
    await opened.wait()
    await asyncio.sleep(0)
    opening.cancel()
    with pytest.raises(asyncio.CancelledError):
        await opening
    with pytest.raises(StoreUnavailable, match="closed"):
        await store.get("key")


def test_a_service_process_logs_under_its_name(monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[tuple[str, dict[str, Any]]] = []
    monkeypatch.setattr(place, "configure_logging", lambda level, **given: seen.append((level, given)))
    settings = Settings(log_level="DEBUG", data_dir=Path("/data"), log_file_mib=1, log_files_kept=2)
    place.prepare_process("error_bus", settings, "pc2")
    place.prepare_process("error_bus", settings)
    files = LogFiles(Path("/data/logs/pc2"), file_bytes=2**20, kept=2)
    assert seen == [
        ("DEBUG", {"service": "error_bus", "machine": "pc2", "files": files}),
        ("DEBUG", {"service": "error_bus", "machine": "", "files": None}),
    ]
