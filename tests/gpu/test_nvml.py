"""The NVML backend on a real card. Nothing here changes a setting of the card."""

import json
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from zejzl_ray.clock import SystemClock
from zejzl_ray.contracts.machines import Gpu, MachineSnapshot
from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.machine.gpus import GpuReading
from zejzl_ray.machine.nvml import NvmlBackend
from zejzl_ray.machine.probe import MachineProbe
from zejzl_ray.machine.settings import GpuSettings, open_backend
from zejzl_ray.machine.vram import VramSource, ask_vram_total, vram_total

HELD_MIB = 512
WAIT_S = 15.0


@pytest.fixture
def backend() -> Iterator[NvmlBackend]:
    backend = NvmlBackend()
    reading = backend.read()
    if not reading.gpus:
        pytest.skip(f"no card: {reading.note}")
    yield backend
    backend.close()


@dataclass(frozen=True)
class Holder:
    """A child process that holds memory of a card."""

    pid: int
    uuid: str


@contextmanager
def holding(size_mib: int) -> Iterator[Holder]:
    program = Path(__file__).with_name("hold_vram.py")
    with subprocess.Popen(
        [sys.executable, str(program), str(size_mib)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as child:
        try:
            assert child.stdout is not None
            line = child.stdout.readline()
            assert line, "the program that holds memory ended without an answer"
            answer = json.loads(line)
            if "skip" in answer:
                pytest.skip(f"no memory can be held: {answer['skip']}")
            yield Holder(child.pid, answer["uuid"])
        finally:
            assert child.stdin is not None
            child.stdin.close()
            try:
                child.wait(30)
            except subprocess.TimeoutExpired:
                child.kill()


def card_of(reading: GpuReading, uuid: str) -> Gpu:
    by_uuid = {gpu.uuid: gpu for gpu in reading.gpus}
    assert uuid in by_uuid, f"CUDA's card {uuid} is not among NVML's {list(by_uuid)}; {reading.note}"
    return by_uuid[uuid]


def wait_for(read: Callable[[], Gpu], is_reached: Callable[[Gpu], bool]) -> Gpu:
    """Return the first figures that satisfy the condition, or the last ones after the time limit."""
    end_s = time.monotonic() + WAIT_S
    while True:
        gpu = read()
        if is_reached(gpu) or time.monotonic() > end_s:
            return gpu
        time.sleep(0.05)


def test_the_cards_are_found_with_plausible_figures(backend: NvmlBackend) -> None:
    for gpu in backend.read().gpus:
        assert gpu.uuid.startswith("GPU-")
        assert gpu.name not in ("", "unknown card")
        assert 1_024 <= gpu.vram_total_mib <= 1_048_576
        assert 0 <= gpu.vram_used_mib <= gpu.vram_total_mib
        assert gpu.temperature_c is None or 0 < gpu.temperature_c < 120
        assert gpu.power_w is None or 0 < gpu.power_w < 2_000
        assert not gpu.is_simulated


def test_two_reads_agree_on_what_does_not_change(backend: NvmlBackend) -> None:
    def identity(reading: GpuReading) -> list[tuple[str, int, str, int]]:
        return [(gpu.uuid, gpu.index, gpu.name, gpu.vram_total_mib) for gpu in reading.gpus]

    first = identity(backend.read())
    backend.close()
    assert identity(backend.read()) == first
    assert len({uuid for uuid, *_ in first}) == len(first)


def test_nvidia_smi_tells_the_same_cards_and_sizes(backend: NvmlBackend) -> None:
    program = shutil.which("nvidia-smi")
    if program is None:
        pytest.skip("nvidia-smi is not in the PATH")
    query = [program, "--query-gpu=uuid,memory.total", "--format=csv,noheader,nounits"]
    lines = subprocess.run(query, capture_output=True, text=True, check=True, timeout=60).stdout.splitlines()
    told = {uuid.strip(): int(size) for uuid, size in (line.split(",") for line in lines if line.strip())}
    assert {gpu.uuid: gpu.vram_total_mib for gpu in backend.read().gpus} == told


def test_used_memory_rises_when_a_process_takes_some_and_falls_when_it_ends(backend: NvmlBackend) -> None:
    before = {gpu.uuid: gpu.vram_used_mib for gpu in backend.read().gpus}
    with holding(HELD_MIB) as holder:
        during = card_of(backend.read(), holder.uuid)
        assert during.vram_used_mib >= before[holder.uuid] + HELD_MIB
    after = wait_for(
        lambda: card_of(backend.read(), holder.uuid),
        lambda gpu: gpu.vram_used_mib <= during.vram_used_mib - HELD_MIB,
    )
    assert after.vram_used_mib <= during.vram_used_mib - HELD_MIB


def test_the_process_that_holds_memory_is_shown_with_it(backend: NvmlBackend) -> None:
    def by_pid(gpu: Gpu) -> dict[int, int | None]:
        return {process.pid: process.vram_mib for process in gpu.processes}

    before = {gpu.uuid: by_pid(gpu) for gpu in backend.read().gpus}
    with holding(HELD_MIB) as holder:
        card = card_of(backend.read(), holder.uuid)
    new = {pid: vram_mib for pid, vram_mib in by_pid(card).items() if pid not in before[card.uuid]}
    if not new:
        pytest.skip("the driver shows this container no processes")
    if None in new.values():
        pytest.skip("the driver does not tell what each process uses")
    assert any(vram_mib is not None and vram_mib >= HELD_MIB for vram_mib in new.values())
    if holder.pid in new:  # elsewhere the driver counts in another pid namespace
        (process,) = [process for process in card.processes if process.pid == holder.pid]
        assert process.name is not None
        assert "python" in process.name


def test_ray_is_told_what_was_found_and_no_more_can_be_declared(backend: NvmlBackend) -> None:
    reading = backend.read()
    found_mib = sum(gpu.vram_total_mib for gpu in reading.gpus)
    total = ask_vram_total(GpuSettings(), "mainpc")
    assert (total.vram_mib, total.source) == (found_mib, VramSource.FOUND)
    assert vram_total(reading, found_mib - 1_000, "mainpc").vram_mib == found_mib - 1_000
    with pytest.raises(SettingsInvalid, match=f"its cards have {found_mib} MiB"):
        vram_total(reading, found_mib + 1, "mainpc")


def test_a_card_can_be_selected_by_its_uuid(backend: NvmlBackend) -> None:
    chosen = backend.read().gpus[-1]
    selected = open_backend(GpuSettings(cards=chosen.uuid), "pc2")
    try:
        assert [gpu.uuid for gpu in selected.read().gpus] == [chosen.uuid]
    finally:
        selected.close()


def test_a_snapshot_of_the_machine_survives_the_wire(backend: NvmlBackend) -> None:
    probe = MachineProbe("mainpc", backend, SystemClock())
    snapshot = probe.snapshot()
    assert len(snapshot.gpus) == len(backend.read().gpus)
    assert MachineSnapshot.model_validate_json(snapshot.model_dump_json()) == snapshot
