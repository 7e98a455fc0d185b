import pytest

from zejzl_ray.machine.gpus import GpuBackend, GpuReading
from zejzl_ray.machine.nvml import NvmlApi
from zejzl_ray.testing.gpus import (
    FakeGpuBackend,
    FakeNvml,
    FakeNvmlCard,
    FakeNvmlError,
    fake_gpu,
    fake_snapshot,
)


def test_a_fake_backend_shows_what_was_set_and_counts_its_reads() -> None:
    fake = FakeGpuBackend([fake_gpu()])
    backend: GpuBackend = fake
    assert backend.read() == GpuReading((fake_gpu(),))
    backend.close()
    assert (fake.reads, fake.is_closed) == (1, True)
    fake.gpus, fake.note = (), "gone"
    assert backend.read() == GpuReading((), "gone")
    assert not fake.is_closed


def test_a_fake_snapshot_has_the_cards_it_was_given() -> None:
    snapshot = fake_snapshot("pc2", [fake_gpu("GPU-x")], taken_at_s=5.0)
    assert (snapshot.machine, snapshot.gpus[0].uuid, snapshot.taken_at_s) == ("pc2", "GPU-x", 5.0)


def test_the_fake_library_answers_only_while_it_is_open() -> None:
    api: NvmlApi = FakeNvml([FakeNvmlCard()])
    with pytest.raises(FakeNvmlError, match="Uninitialized"):
        api.nvmlDeviceGetCount()
    api.nvmlInit()
    assert api.nvmlDeviceGetCount() == 1


def test_the_fake_library_knows_one_temperature_sensor() -> None:
    api = FakeNvml([FakeNvmlCard()])
    with pytest.raises(FakeNvmlError, match="Invalid Argument"):
        api.nvmlDeviceGetTemperature(api.cards[0], 1)
