import os

import pynvml
import pytest

from zejzl_ray.contracts.machines import GpuProcess
from zejzl_ray.machine.gpus import GpuReading
from zejzl_ray.machine.nvml import NvmlBackend, process_name
from zejzl_ray.testing.gpus import FakeNvml, FakeNvmlCard, FakeNvmlError, FakeProcess

MIB = 1024 * 1024


def no_name(pid: int) -> str | None:
    return None


def backend_over(api: FakeNvml) -> NvmlBackend:
    return NvmlBackend(api, no_name)


def test_a_card_is_shown_with_all_its_figures_in_our_units() -> None:
    card = FakeNvmlCard(
        used_bytes=512 * MIB + 1,
        utilisation_percent=37,
        temperature_c=61,
        power_mw=120_500,
        compute=[FakeProcess(42, 500 * MIB)],
    )
    reading = NvmlBackend(FakeNvml([card]), lambda pid: f"process-{pid}").read()
    assert reading.note == ""
    (gpu,) = reading.gpus
    assert (gpu.uuid, gpu.index, gpu.name) == ("GPU-nvml-0", 0, "NVIDIA GeForce RTX 4090")
    assert (gpu.vram_total_mib, gpu.vram_used_mib) == (24_564, 513)  # used is rounded up
    assert (gpu.utilisation_ratio, gpu.temperature_c, gpu.power_w) == (0.37, 61, 120.5)
    assert gpu.processes == (GpuProcess(pid=42, name="process-42", vram_mib=500),)
    assert not gpu.is_simulated


def test_names_in_bytes_are_decoded() -> None:
    (gpu,) = backend_over(FakeNvml([FakeNvmlCard(uuid=b"GPU-b", name=b"Old \xff")])).read().gpus
    assert (gpu.uuid, gpu.name) == ("GPU-b", "Old \ufffd")


def test_a_process_that_computes_and_draws_is_one_and_processes_are_sorted() -> None:
    card = FakeNvmlCard(
        compute=[FakeProcess(9, None), FakeProcess(3, 10 * MIB), FakeProcess(4, 7 * MIB)],
        graphics=[
            FakeProcess(3, 12 * MIB),
            FakeProcess(9, 5 * MIB),
            FakeProcess(4, None),
            FakeProcess(11, None),
        ],
    )
    (gpu,) = backend_over(FakeNvml([card])).read().gpus
    assert [(process.pid, process.vram_mib) for process in gpu.processes] == [
        (3, 12),
        (4, 7),
        (9, 5),
        (11, None),
    ]


@pytest.mark.parametrize(
    ("call", "field", "value"),
    [
        ("GetUtilizationRates", "utilisation_ratio", None),
        ("GetTemperature", "temperature_c", None),
        ("GetPowerUsage", "power_w", None),
        ("GetComputeRunningProcesses", "processes", ()),
        ("GetGraphicsRunningProcesses", "processes", ()),
        ("GetMigMode", "uuid", "GPU-nvml-0"),
        ("GetName", "name", "unknown card"),
    ],
)
def test_a_figure_that_the_card_does_not_give_is_left_open_without_a_note(
    call: str, field: str, value: object
) -> None:
    reading = backend_over(FakeNvml([FakeNvmlCard(failing={call})])).read()
    assert reading.note == ""
    assert getattr(reading.gpus[0], field) == value


def test_a_card_that_hides_its_memory_counts_as_zero_and_is_named() -> None:
    reading = backend_over(FakeNvml([FakeNvmlCard(failing={"GetMemoryInfo"})])).read()
    assert (reading.gpus[0].vram_total_mib, reading.gpus[0].vram_used_mib) == (0, 0)
    assert reading.note == "card 0 (NVIDIA GeForce RTX 4090) does not tell its memory: Not Supported"


def test_a_card_divided_by_mig_is_named() -> None:
    reading = backend_over(FakeNvml([FakeNvmlCard(name="H100", has_mig=True)])).read()
    assert reading.note == "card 0 (H100) is divided by MIG, its parts are not told apart"
    assert len(reading.gpus) == 1


@pytest.mark.parametrize("call", ["GetHandleByIndex", "GetUUID"])
def test_a_lost_card_is_left_out_and_the_others_stay(call: str) -> None:
    api = FakeNvml([FakeNvmlCard(failing={call}), FakeNvmlCard(uuid="GPU-1")])
    reading = backend_over(api).read()
    assert [gpu.uuid for gpu in reading.gpus] == ["GPU-1"]
    assert reading.note == "card 0 cannot be read: Not Supported"
    assert api.open_count == 1


def test_when_every_card_is_lost_the_driver_is_opened_anew_at_the_next_read() -> None:
    card = FakeNvmlCard(failing={"GetUUID"})
    api = FakeNvml([card])
    backend = backend_over(api)
    assert backend.read().gpus == ()
    assert api.open_count == 0
    card.failing.clear()
    assert len(backend.read().gpus) == 1
    assert (api.inits, api.open_count) == (2, 1)


def test_a_computer_without_nvml_is_normal_and_a_driver_that_comes_later_is_found() -> None:
    api = FakeNvml([FakeNvmlCard()])
    api.init_error = FakeNvmlError("NVML Shared Library Not Found")
    backend = backend_over(api)
    assert backend.read() == GpuReading((), "NVML is not available: NVML Shared Library Not Found")
    api.init_error = FakeNvmlError()
    assert backend.read().note == "NVML is not available: FakeNvmlError"
    api.init_error = None
    assert len(backend.read().gpus) == 1


def test_no_card_behind_a_working_library_is_said() -> None:
    assert backend_over(FakeNvml()).read().note == "NVML finds no card"


def test_a_driver_that_goes_away_is_a_note_and_comes_back() -> None:
    api = FakeNvml([FakeNvmlCard()])
    backend = backend_over(api)
    assert backend.read().note == ""
    api.count_error = FakeNvmlError("Driver Not Loaded")
    reading = backend.read()
    assert (reading.gpus, reading.note) == ((), "the NVIDIA driver stopped answering: Driver Not Loaded")
    api.count_error = None
    assert len(backend.read().gpus) == 1
    assert api.inits == 2


def test_whatever_a_broken_driver_raises_read_does_not() -> None:
    api = FakeNvml([FakeNvmlCard()])
    api.count_error = OSError("bad pointer")
    api.shutdown_error = OSError("bad pointer too")
    reading = backend_over(api).read()
    assert (reading.gpus, reading.note) == ((), "reading the cards failed: bad pointer")


def test_closing_twice_shuts_down_once_and_a_read_opens_again() -> None:
    api = FakeNvml([FakeNvmlCard()])
    backend = backend_over(api)
    backend.close()
    assert (api.inits, api.open_count) == (0, 0)
    backend.read()
    backend.close()
    backend.close()
    assert (api.inits, api.open_count) == (1, 0)
    assert len(backend.read().gpus) == 1


def test_the_real_library_has_every_call_in_use() -> None:
    calls = [name for name in vars(FakeNvml) if name.startswith("nvml")]
    assert len(calls) == 13
    assert [name for name in calls if not callable(getattr(pynvml, name, None))] == []
    assert issubclass(pynvml.NVMLError, Exception)
    assert pynvml.NVML_TEMPERATURE_GPU == 0


def test_the_real_library_never_makes_read_raise() -> None:
    backend = NvmlBackend()
    reading = backend.read()
    backend.close()
    assert reading.gpus or reading.note


def test_a_process_has_its_name_and_a_missing_one_none() -> None:
    assert process_name(os.getpid())
    assert process_name(-1) is None
    assert process_name(2**40) is None
