from pathlib import Path

import psutil

from zejzl_ray.contracts.machines import MachineSnapshot
from zejzl_ray.machine.probe import CpuTimes, MachineProbe, cpu_times, existing_parent
from zejzl_ray.testing import ManualClock
from zejzl_ray.testing.gpus import FakeGpuBackend, fake_gpu


def test_a_snapshot_holds_the_computers_figures_and_the_cards() -> None:
    backend = FakeGpuBackend([fake_gpu()], "a note")
    probe = MachineProbe("mainpc", backend, ManualClock(1_000.0), node_id="node-1", address="10.0.0.1")
    snapshot = probe.snapshot()
    assert (snapshot.machine, snapshot.node_id, snapshot.address) == ("mainpc", "node-1", "10.0.0.1")
    assert (snapshot.gpus, snapshot.gpu_note, snapshot.taken_at_s) == (backend.gpus, "a note", 1_000.0)
    assert snapshot.cpu_count == psutil.cpu_count()
    assert 0 <= snapshot.cpu_busy_ratio <= 1
    assert snapshot.ram_total_mib == psutil.virtual_memory().total // 1024**2
    assert 0 < snapshot.ram_used_mib <= snapshot.ram_total_mib
    assert 0 < snapshot.disk_used_mib <= snapshot.disk_total_mib
    assert snapshot.hostname
    assert MachineSnapshot.model_validate_json(snapshot.model_dump_json()) == snapshot


def test_a_machine_may_own_a_part_of_the_cpus_and_a_disk_that_is_not_made_yet(tmp_path: Path) -> None:
    probe = MachineProbe(
        "pc2", FakeGpuBackend(), ManualClock(), cpu_count=1, disk_path=str(tmp_path / "not" / "there")
    )
    snapshot = probe.snapshot()
    assert snapshot.cpu_count == 1
    assert snapshot.disk_total_mib == psutil.disk_usage(str(tmp_path)).total // 1024**2


def test_closing_the_probe_closes_the_backend() -> None:
    backend = FakeGpuBackend()
    MachineProbe("mainpc", backend, ManualClock()).close()
    assert backend.is_closed


def test_cpu_busy_is_the_busy_part_of_the_time_between_two_readings() -> None:
    before = CpuTimes(busy_s=10, total_s=100)
    assert CpuTimes(busy_s=15, total_s=120).busy_ratio_since(before) == 0.25
    assert CpuTimes(busy_s=10, total_s=100).busy_ratio_since(before) == 0
    assert CpuTimes(busy_s=9, total_s=101).busy_ratio_since(before) == 0
    assert CpuTimes(busy_s=50, total_s=110).busy_ratio_since(before) == 1


def test_cpu_times_only_grow_and_busy_is_a_part_of_the_total() -> None:
    first, second = cpu_times(), cpu_times()
    assert 0 < first.busy_s <= first.total_s <= second.total_s


def test_the_nearest_directory_that_exists_is_found(tmp_path: Path) -> None:
    assert existing_parent(tmp_path) == tmp_path
    assert existing_parent(tmp_path / "a" / "b") == tmp_path
