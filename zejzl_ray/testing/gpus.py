"""Fake cards: ready-made figures, a ``GpuBackend`` and an ``NvmlApi`` that do as a test tells them."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

from zejzl_ray.contracts.machines import Gpu, MachineSnapshot
from zejzl_ray.machine.gpus import GpuReading

RTX_4090_MIB = 24_564
RTX_3060_MIB = 12_288
_MIB = 1024 * 1024


def fake_gpu(
    uuid: str = "GPU-fake-0",
    *,
    name: str = "RTX 4090",
    vram_total_mib: int = RTX_4090_MIB,
    vram_used_mib: int = 0,
    index: int = 0,
    is_simulated: bool = False,
) -> Gpu:
    """Return a card; an RTX 4090 of which nothing is used, unless told otherwise."""
    return Gpu(
        uuid=uuid,
        index=index,
        name=name,
        vram_total_mib=vram_total_mib,
        vram_used_mib=vram_used_mib,
        utilisation_ratio=0.0,
        temperature_c=40.0,
        power_w=30.0,
        is_simulated=is_simulated,
    )


def fake_snapshot(
    machine: str = "mainpc",
    gpus: Sequence[Gpu] = (),
    *,
    taken_at_s: float = 1_700_000_000.0,
    gpu_note: str = "",
) -> MachineSnapshot:
    """Return a quiet machine with 16 CPUs, 64 GiB of memory and these cards."""
    return MachineSnapshot(
        machine=machine,
        node_id=f"node-of-{machine}",
        hostname=f"{machine}.test",
        address="127.0.0.1",
        cpu_count=16,
        cpu_busy_ratio=0.1,
        ram_total_mib=65_536,
        ram_used_mib=8_192,
        disk_total_mib=1_000_000,
        disk_used_mib=100_000,
        net_sent_bytes=1_000,
        net_received_bytes=2_000,
        gpus=tuple(gpus),
        gpu_note=gpu_note,
        taken_at_s=taken_at_s,
    )


class FakeGpuBackend:
    """A ``GpuBackend`` that shows what its attributes say.

    Attributes:
        gpus: the cards of the next read.
        note: the note of the next read.
        reads: how many reads there were.
        is_closed: whether ``close`` was called after the last read.
    """

    def __init__(self, gpus: Sequence[Gpu] = (), note: str = "") -> None:
        self.gpus = tuple(gpus)
        self.note = note
        self.reads = 0
        self.is_closed = False

    def read(self) -> GpuReading:
        """Return the cards and the note that are set."""
        self.reads += 1
        self.is_closed = False
        return GpuReading(self.gpus, self.note)

    def close(self) -> None:
        """Remember that it was called."""
        self.is_closed = True


class FakeNvmlError(Exception):
    """What ``FakeNvml`` raises, as the library would."""


@dataclass(frozen=True, slots=True)
class FakeMemory:
    """Bytes of a card."""

    total: int
    used: int


@dataclass(frozen=True, slots=True)
class FakeRates:
    """Percent of a card."""

    gpu: int


@dataclass(frozen=True, slots=True)
class FakeProcess:
    """A process on a card; bytes, or None where the driver does not tell."""

    pid: int
    usedGpuMemory: int | None  # NVML's own name


@dataclass(slots=True)
class FakeNvmlCard:
    """One card as the library shows it; ``failing`` names the calls that raise, such as ``GetPowerUsage``."""

    uuid: str | bytes = "GPU-nvml-0"
    name: str | bytes = "NVIDIA GeForce RTX 4090"
    total_bytes: int = RTX_4090_MIB * _MIB
    used_bytes: int = 0
    utilisation_percent: int = 0
    temperature_c: int = 40
    power_mw: int = 30_000
    has_mig: bool = False
    compute: Sequence[FakeProcess] = ()
    graphics: Sequence[FakeProcess] = ()
    failing: set[str] = field(default_factory=set)


class FakeNvml:
    """An ``NvmlApi`` without a driver.

    Attributes:
        cards: what the computer has.
        init_error: ``nvmlInit`` raises this while it is set.
        count_error: ``nvmlDeviceGetCount`` raises this while it is set; any exception, as a broken driver
            may.
        shutdown_error: ``nvmlShutdown`` raises this while it is set.
        inits: how often the library was opened.
        open_count: opened and not shut down.
    """

    NVMLError: type[Exception] = FakeNvmlError

    def __init__(self, cards: Sequence[FakeNvmlCard] = ()) -> None:
        self.cards = list(cards)
        self.init_error: Exception | None = None
        self.count_error: Exception | None = None
        self.shutdown_error: Exception | None = None
        self.inits = 0
        self.open_count = 0

    def nvmlInit(self) -> None:
        """Open, or raise ``init_error``."""
        if self.init_error is not None:
            raise self.init_error
        self.inits += 1
        self.open_count += 1

    def nvmlShutdown(self) -> None:
        """Close, or raise ``shutdown_error``."""
        if self.shutdown_error is not None:
            raise self.shutdown_error
        self.open_count -= 1

    def nvmlDeviceGetCount(self) -> int:
        """Return the number of cards, or raise ``count_error``."""
        if self.count_error is not None:
            raise self.count_error
        if self.open_count == 0:
            raise FakeNvmlError("Uninitialized")
        return len(self.cards)

    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> FakeNvmlCard:
        """Return the card itself as its handle."""
        return self._ask(self.cards[index], "GetHandleByIndex")

    def nvmlDeviceGetUUID(self, handle: Any, /) -> str | bytes:
        """Return the uuid."""
        return self._ask(handle, "GetUUID").uuid

    def nvmlDeviceGetName(self, handle: Any, /) -> str | bytes:
        """Return the name."""
        return self._ask(handle, "GetName").name

    def nvmlDeviceGetMemoryInfo(self, handle: Any, /) -> FakeMemory:
        """Return total and used bytes."""
        card = self._ask(handle, "GetMemoryInfo")
        return FakeMemory(card.total_bytes, card.used_bytes)

    def nvmlDeviceGetUtilizationRates(self, handle: Any, /) -> FakeRates:
        """Return percent."""
        return FakeRates(self._ask(handle, "GetUtilizationRates").utilisation_percent)

    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int, /) -> int:
        """Return degrees Celsius of sensor 0, the only one."""
        if sensor != 0:
            raise FakeNvmlError("Invalid Argument")
        return self._ask(handle, "GetTemperature").temperature_c

    def nvmlDeviceGetPowerUsage(self, handle: Any, /) -> int:
        """Return milliwatts."""
        return self._ask(handle, "GetPowerUsage").power_mw

    def nvmlDeviceGetMigMode(self, handle: Any, /) -> Sequence[int]:
        """Return current and pending mode."""
        is_on = int(self._ask(handle, "GetMigMode").has_mig)
        return [is_on, is_on]

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any, /) -> Sequence[FakeProcess]:
        """Return the processes that compute."""
        return self._ask(handle, "GetComputeRunningProcesses").compute

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Any, /) -> Sequence[FakeProcess]:
        """Return the processes that draw."""
        return self._ask(handle, "GetGraphicsRunningProcesses").graphics

    @staticmethod
    def _ask(card: FakeNvmlCard, call: str) -> FakeNvmlCard:
        if call in card.failing:
            raise FakeNvmlError("Not Supported")
        return card
