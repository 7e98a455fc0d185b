"""``zejzl status``: what is shown, and the exit code."""

import io
import json
import os
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import psutil
import pytest
from rich.console import Console
from rich.table import Table
from typer.testing import CliRunner, Result

from tests.unit.cluster.nodes import a_head, a_worker
from zejzl_ray.cli import status
from zejzl_ray.cli.main import app
from zejzl_ray.cluster.names import SERVICES
from zejzl_ray.cluster.supervisor_record import UNASKED, SupervisorRecord
from zejzl_ray.cluster.vram_placement import PlacedActor
from zejzl_ray.contracts.health import Check, CheckStatus, ServiceHealth
from zejzl_ray.contracts.machines import Gpu, Machine, MachineCondition, MachineSnapshot
from zejzl_ray.contracts.orchestrator import RegistryStatus
from zejzl_ray.errors import ClusterError, DeadlineExceeded, ServiceUnavailable

GPU = Gpu(uuid="GPU-a", index=0, name="RTX [4090]", vram_total_mib=24564, vram_used_mib=6141)


def snapshot(name: str, *gpus: Gpu, note: str = "") -> MachineSnapshot:
    return MachineSnapshot(
        machine=name,
        cpu_count=8,
        cpu_busy_ratio=0.25,
        ram_total_mib=65536,
        ram_used_mib=1536,
        disk_total_mib=1,
        disk_used_mib=0,
        net_sent_bytes=0,
        net_received_bytes=0,
        gpus=gpus,
        gpu_note=note,
        taken_at_s=1.0,
    )


def machine(name: str, state: MachineSnapshot | None, *, is_alive: bool = True) -> Machine:
    return Machine(
        name=name, snapshot=state, is_alive=is_alive, first_seen_at_s=1, last_seen_at_s=1, revision=1
    )


class FakeClient:
    """The part of the client that the command uses."""

    def __init__(self) -> None:
        self.alarm = ""
        self.health: dict[str, ServiceHealth | Exception] = {}
        self.is_closed = False
        self.is_auth_off = False
        self.registry_error: Exception | None = None

    def __enter__(self) -> "FakeClient":
        return self

    def __exit__(self, *_: object) -> None:
        self.is_closed = True

    def machines(self) -> list[Machine]:
        other = GPU.model_copy(update={"name": "RTX 3060", "is_simulated": True})
        return [machine("mainpc", snapshot("mainpc", GPU, other)), machine("pc2", None, is_alive=False)]

    def registry_status(self) -> RegistryStatus:
        if self.registry_error is not None:
            raise self.registry_error
        return RegistryStatus(
            agents=3,
            by_state={"healthy": 2, "lost": 1, "stopped": 0},
            machines=2,
            revision=9,
            is_protected=bool(self.alarm),
            alarm=self.alarm,
        )

    def service_health(self, service: str) -> ServiceHealth:
        found = self.health.get(service) or ServiceHealth(
            service=service, is_ready=True, machine="pc2", epoch=4
        )
        if isinstance(found, Exception):
            raise found
        return found


@pytest.fixture
def client(monkeypatch: pytest.MonkeyPatch) -> FakeClient:
    fake = FakeClient()
    monkeypatch.setattr(status, "connect", lambda: fake)
    return fake


def run(*arguments: str) -> Result:
    return CliRunner().invoke(app, ["status", *arguments])


def text_of(table: Table) -> str:
    stream = io.StringIO()
    Console(file=stream, width=200).print(table)
    return stream.getvalue()


def test_a_system_that_is_well_is_shown_and_0(client: FakeClient) -> None:
    result = run()
    assert result.exit_code == 0
    for expected in (
        "RTX [4090]",
        "6141 of 24564 MiB",
        "RTX 3060 (simulated)",
        "25% of 8",
        "1.5 of 64.0 GiB",
    ):
        assert expected in result.stdout
    assert "agents: 3 (2 healthy, 1 lost), revision 9" in result.stdout
    assert "alarm" not in result.stdout
    assert client.is_closed


@pytest.mark.parametrize("error", [ServiceUnavailable("away [/x]"), DeadlineExceeded("away [/x]")])
def test_a_service_that_does_not_answer_is_a_row_and_1(client: FakeClient, error: Exception) -> None:
    client.health = {"error_bus": error}
    result = run()
    assert result.exit_code == 1
    assert "not ready" in result.stdout
    assert "answer: away [/x]" in result.stdout


def test_while_the_registry_does_not_answer_the_services_still_say_why(client: FakeClient) -> None:
    client.registry_error = ServiceUnavailable("the copy is old")
    failed = Check(name="started", status=CheckStatus.FAILED, reason="the store has format 1")
    client.health = {
        "core_orchestrator": ServiceHealth(service="core_orchestrator", is_ready=False, checks=(failed,))
    }
    result = run()
    assert result.exception is client.registry_error
    assert "the store has format 1" in result.stdout
    assert "agents:" not in result.stdout
    data = json.loads(run("--json").stdout)
    assert (data["machines"], data["agents"], len(data["services"])) == ([], None, len(SERVICES))


def test_when_nobody_answers_one_error_says_so(client: FakeClient) -> None:
    client.registry_error = ServiceUnavailable("nothing answers")
    client.health = dict.fromkeys(SERVICES, ServiceUnavailable("nothing answers"))
    result = run()
    assert result.exception is client.registry_error
    assert result.stdout == ""


def test_on_a_worker_where_nobody_answers_it_says_where_the_head_is(
    client: FakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path))
    SupervisorRecord(node=a_worker(), pid=1, started_at_s=0.0, state="up").write(tmp_path)
    client.registry_error = ServiceUnavailable("nothing answers")
    client.health = dict.fromkeys(SERVICES, ServiceUnavailable("nothing answers"))

    result = run()

    assert result.exception is client.registry_error
    assert "pc2, is a worker (up); the head is at 10.0.0.1:6379" in result.stderr


def test_a_head_that_could_not_ask_who_is_the_head_says_what_that_means(
    client: FakeClient, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path))
    record = SupervisorRecord(
        node=a_head(), pid=os.getpid(), started_at_s=psutil.Process().create_time(), state="up",
        note=f"{UNASKED}: Redis at 10.0.0.2:6380 does not answer",
    )  # fmt: skip
    record.write(tmp_path)

    assert f"mainpc: {record.note}. If one has, mainpc becomes its worker" in run().stdout
    record.model_copy(update={"note": "gcs_server ended with -9"}).write(tmp_path)
    assert "gcs_server" not in run().stdout


def test_json_is_complete_also_when_a_service_is_away(client: FakeClient) -> None:
    client.health = {"error_bus": ServiceUnavailable("away")}
    result = run("--json")
    data = json.loads(result.stdout)
    assert result.exit_code == 1
    assert [service["service"] for service in data["services"]] == list(SERVICES)
    assert [one["name"] for one in data["machines"]] == ["mainpc", "pc2"]
    assert data["agents"]["by_state"]["healthy"] == 2


def test_it_says_loudly_when_authentication_is_off(client: FakeClient) -> None:
    assert "authentication" not in run().stdout
    assert json.loads(run("--json").stdout)["auth"] == "on"
    client.is_auth_off = True
    assert "authentication is OFF" in run().stdout
    assert json.loads(run("--json").stdout)["auth"] == "off"


def test_an_alarm_is_shown_as_it_is_written(client: FakeClient) -> None:
    client.alarm = "half of the fleet [/lost]"
    assert "alarm: half of the fleet [/lost]" in run().stdout


def test_a_system_that_is_not_up_is_an_error(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse() -> None:
        raise ServiceUnavailable("nothing listens")

    monkeypatch.setattr(status, "connect", refuse)
    assert isinstance(run().exception, ServiceUnavailable)


@pytest.mark.parametrize(
    ("used", "total", "cells"), [(0, 100, 0), (50, 100, 10), (100, 100, 20), (150, 100, 20), (0, 0, 0)]
)
def test_a_bar_has_twenty_cells_whatever_the_figures(used: int, total: int, cells: int) -> None:
    text = status.vram_bar(used, total).plain
    assert (text.count("█"), text.count("░")) == (cells, 20 - cells)
    assert text.endswith(f" {used} of {total} MiB")


@pytest.mark.parametrize(("note", "shown"), [("", "no GPU"), ("no driver [/dev/nvidia0]", "[/dev/nvidia0]")])
def test_a_machine_without_cards_says_why(note: str, shown: str) -> None:
    assert shown in text_of(status.machine_table([machine("pc2", snapshot("pc2", note=note))]))


def test_only_checks_that_are_not_ok_are_notes() -> None:
    checks = (
        Check(name="store", status=CheckStatus.OK),
        Check(name="port", status=CheckStatus.DEGRADED, reason="taken"),
    )
    text = text_of(status.service_table([ServiceHealth(service="x", is_ready=True, checks=checks)]))
    assert "port: taken" in text
    assert "store" not in text


@pytest.fixture
def actors(monkeypatch: pytest.MonkeyPatch) -> None:
    placed = (
        PlacedActor("A[/b]", "Demo", "ALIVE", "mainpc", 6144, "GPU-a", 0.5, 1),
        PlacedActor("B", "Demo", "RESTARTING", "pc2", 0, "", 0.0, 2),
    )
    monkeypatch.setattr("zejzl_ray.cluster.vram_placement.list_placed", lambda: placed)
    monkeypatch.setattr("actors.local_system.connected", lambda *_: nullcontext())
    monkeypatch.setattr("zejzl_ray.cluster.record.require_record", lambda _: None)


@pytest.mark.usefixtures("actors")
def test_placement_shows_what_each_actor_asked_for() -> None:
    result = run("--placement")
    assert result.exit_code == 0
    for expected in ("A[/b]", "6144", "GPU-a", "0.5", "restarting"):
        assert expected in result.stdout


@pytest.mark.usefixtures("actors")
def test_placement_as_json() -> None:
    data: list[dict[str, Any]] = json.loads(run("--placement", "--json").stdout)
    assert [(one["name"], one["vram_mib"]) for one in data] == [("A[/b]", 6144), ("B", 0)]


def test_placement_without_a_cluster_says_so(monkeypatch: pytest.MonkeyPatch, tmp_path: Any) -> None:
    monkeypatch.setenv("ZEJZL_DATA_DIR", str(tmp_path))
    assert isinstance(run("--placement").exception, ClusterError)


def test_what_is_not_well_with_a_machine_is_said_with_what_to_do() -> None:
    condition = MachineCondition(
        status="warning", checked_at_s=1.0, findings=("disk is warning: 90 %",), advice=("remove old logs",)
    )
    full = snapshot("pc2").model_copy(update={"condition": condition})
    machines = [
        machine("mainpc", snapshot("mainpc")),
        machine("pc2", full),
        machine("pc3", full, is_alive=False),
    ]
    assert status.machine_notes(machines) == ["pc2: disk is warning: 90 %", "pc2: remove old logs"]
