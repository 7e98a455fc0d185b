import threading

import pytest

from zejzl_ray.contracts.machines import MachineSnapshot
from zejzl_ray.errors import DeadlineExceeded
from zejzl_ray.machine.gpus import GpuReading
from zejzl_ray.machine.probe import HostReading
from zejzl_ray.machine.watch import MachineWatch
from zejzl_ray.testing.gpus import fake_gpu, fake_snapshot

HOST = HostReading(0.5, 100, 50, 1000, 500, 1, 2)


class FakeProbe:
    """A probe whose reads wait while their gate is shut."""

    def __init__(self) -> None:
        self.gpu_gate = threading.Event()
        self.host_gate = threading.Event()
        self.gpu_gate.set()
        self.host_gate.set()
        self.is_closed = False

    def read_gpus(self) -> GpuReading:
        self.gpu_gate.wait(10)
        return GpuReading((fake_gpu(),))

    def read_host(self) -> HostReading:
        self.host_gate.wait(10)
        return HOST

    def assemble(self, host: HostReading, reading: GpuReading) -> MachineSnapshot:
        return fake_snapshot(gpus=reading.gpus, gpu_note=reading.note)

    def close(self) -> None:
        self.is_closed = True

    def open_gates(self) -> None:
        self.gpu_gate.set()
        self.host_gate.set()


@pytest.fixture
def probe() -> FakeProbe:
    return FakeProbe()


async def test_a_snapshot_joins_both_readings(probe: FakeProbe) -> None:
    watch = MachineWatch(probe, gpu_timeout_s=10, host_timeout_s=10)
    assert watch.last_gpus is None
    snapshot = await watch.snapshot()
    assert (snapshot.gpus, snapshot.gpu_note) == ((fake_gpu(),), "")
    assert watch.last_gpus == GpuReading((fake_gpu(),))


async def test_a_hanging_driver_does_not_hide_the_machine(probe: FakeProbe) -> None:
    probe.gpu_gate.clear()
    watch = MachineWatch(probe, gpu_timeout_s=0.02, host_timeout_s=10)
    try:
        snapshot = await watch.snapshot()
    finally:
        probe.open_gates()
    assert snapshot.gpus == ()
    assert snapshot.gpu_note == "The graphics driver did not answer within 0.02 s."


async def test_the_cards_keep_their_last_figures_while_the_driver_hangs(probe: FakeProbe) -> None:
    watch = MachineWatch(probe, gpu_timeout_s=0.02, host_timeout_s=10)
    watch._last_gpus = GpuReading((fake_gpu(vram_used_mib=9),))
    probe.gpu_gate.clear()
    try:
        snapshot = await watch.snapshot()
    finally:
        probe.open_gates()
    assert snapshot.gpus == (fake_gpu(vram_used_mib=9),)
    assert snapshot.gpu_note.endswith("The figures of the cards are old.")


async def test_an_operating_system_that_hangs_is_an_error(probe: FakeProbe) -> None:
    probe.host_gate.clear()
    try:
        with pytest.raises(DeadlineExceeded, match="The operating system did not answer"):
            await MachineWatch(probe, gpu_timeout_s=10, host_timeout_s=0.02).snapshot()
    finally:
        probe.open_gates()


async def test_closing_releases_the_driver(probe: FakeProbe) -> None:
    watch = MachineWatch(probe, gpu_timeout_s=10, host_timeout_s=10)
    await watch.snapshot()
    await watch.close()
    assert probe.is_closed


async def test_closing_leaves_a_driver_alone_in_which_a_read_hangs(probe: FakeProbe) -> None:
    probe.gpu_gate.clear()
    watch = MachineWatch(probe, gpu_timeout_s=0.02, host_timeout_s=10)
    try:
        await watch.snapshot()
        await watch.close()
        assert not probe.is_closed
    finally:
        probe.open_gates()
