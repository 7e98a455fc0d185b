"""Cards through NVIDIA's management library. A computer without it is a normal one."""

import contextlib
from collections.abc import Callable, Sequence
from typing import Any, Protocol, TypeVar, cast

import psutil
import pynvml

from zejzl_ray.contracts.machines import Gpu, GpuProcess
from zejzl_ray.machine.gpus import GpuReading

_MIB = 1024 * 1024
_TEMPERATURE_OF_GPU = 0  # NVML_TEMPERATURE_GPU

T = TypeVar("T")


class NvmlApi(Protocol):
    """The part of ``pynvml`` in use, under its own names; the module itself is one. Handles are opaque."""

    @property
    def NVMLError(self) -> type[Exception]:
        """Parent of everything the library raises on purpose."""
        ...

    def nvmlInit(self) -> None:
        """Load the library and connect to the driver."""
        ...

    def nvmlShutdown(self) -> None:
        """Undo one ``nvmlInit``."""
        ...

    def nvmlDeviceGetCount(self) -> int:
        """Return the number of cards."""
        ...

    def nvmlDeviceGetHandleByIndex(self, index: int, /) -> Any:
        """Return the handle of a card, counted from 0."""
        ...

    def nvmlDeviceGetUUID(self, handle: Any, /) -> str | bytes:
        """Return the uuid; bytes in old versions."""
        ...

    def nvmlDeviceGetName(self, handle: Any, /) -> str | bytes:
        """Return the product name; bytes in old versions."""
        ...

    def nvmlDeviceGetMemoryInfo(self, handle: Any, /) -> Any:
        """Return an object with ``total`` and ``used``, bytes."""
        ...

    def nvmlDeviceGetUtilizationRates(self, handle: Any, /) -> Any:
        """Return an object with ``gpu``, percent."""
        ...

    def nvmlDeviceGetTemperature(self, handle: Any, sensor: int, /) -> int:
        """Return degrees Celsius."""
        ...

    def nvmlDeviceGetPowerUsage(self, handle: Any, /) -> int:
        """Return milliwatts."""
        ...

    def nvmlDeviceGetMigMode(self, handle: Any, /) -> Sequence[int]:
        """Return the current and the pending mode; 1 is on."""
        ...

    def nvmlDeviceGetComputeRunningProcesses(self, handle: Any, /) -> Sequence[Any]:
        """Return objects with ``pid`` and ``usedGpuMemory``, bytes or None."""
        ...

    def nvmlDeviceGetGraphicsRunningProcesses(self, handle: Any, /) -> Sequence[Any]:
        """Return objects with ``pid`` and ``usedGpuMemory``, bytes or None."""
        ...


def process_name(pid: int) -> str | None:
    """Return the name of a process of this machine, or None when there is none or it may not be seen."""
    try:
        return psutil.Process(pid).name()
    except (psutil.Error, OSError, ValueError, OverflowError):
        return None


class NvmlBackend:
    """The ``GpuBackend`` over NVML.

    The driver may be absent, may come later, and may go away: every ``read`` that finds it closed tries to
    open it. A figure that a card does not give is None; a card that gives no uuid is left out and named in
    the note.

    Args:
        api: the library; None takes ``pynvml``.
        name_of: pid -> name of the process, or None.
    """

    def __init__(
        self, api: NvmlApi | None = None, name_of: Callable[[int], str | None] = process_name
    ) -> None:
        self._api = cast(NvmlApi, pynvml) if api is None else api
        self._name_of = name_of
        self._is_open = False

    def read(self) -> GpuReading:
        """Return the cards as the driver shows them now; never raises."""
        try:
            return self._read()
        except (
            Exception
        ) as error:  # a promise of the Protocol: a fault of the driver must not stop the node agent
            self.close()
            return GpuReading((), f"reading the cards failed: {_reason(error)}")

    def close(self) -> None:
        """Let go of the driver; safe to repeat. A driver that is already gone is no error."""
        if not self._is_open:
            return
        self._is_open = False
        with contextlib.suppress(Exception):  # nothing is left to release when the driver itself is gone
            self._api.nvmlShutdown()

    def _read(self) -> GpuReading:
        if not self._is_open:
            try:
                self._api.nvmlInit()
            except self._api.NVMLError as error:
                return GpuReading((), f"NVML is not available: {_reason(error)}")
            self._is_open = True
        try:
            count = self._api.nvmlDeviceGetCount()
        except self._api.NVMLError as error:
            self.close()
            return GpuReading((), f"the NVIDIA driver stopped answering: {_reason(error)}")
        if count == 0:
            return GpuReading((), "NVML finds no card")
        gpus: list[Gpu] = []
        notes: list[str] = []
        for index in range(count):
            try:
                gpu, note = self._card(index)
            except self._api.NVMLError as error:
                notes.append(f"card {index} cannot be read: {_reason(error)}")
                continue
            gpus.append(gpu)
            if note:
                notes.append(note)
        if not gpus:
            self.close()  # a driver that was loaded anew answers only after a new nvmlInit
        return GpuReading(tuple(gpus), "; ".join(notes))

    def _card(self, index: int) -> tuple[Gpu, str]:
        api = self._api
        handle = api.nvmlDeviceGetHandleByIndex(index)
        uuid = _text(api.nvmlDeviceGetUUID(handle))
        name = _text(self._optional(lambda: api.nvmlDeviceGetName(handle)) or "unknown card")
        notes: list[str] = []
        total_mib = used_mib = 0
        try:
            memory = api.nvmlDeviceGetMemoryInfo(handle)
            total_mib = int(memory.total) // _MIB
            used_mib = _mib_up(memory.used)
        except api.NVMLError as error:
            notes.append(f"card {index} ({name}) does not tell its memory: {_reason(error)}")
        mig = self._optional(lambda: api.nvmlDeviceGetMigMode(handle))
        if mig and mig[0] == 1:
            notes.append(f"card {index} ({name}) is divided by MIG, its parts are not told apart")
        busy = self._optional(lambda: api.nvmlDeviceGetUtilizationRates(handle))
        milliwatts = self._optional(lambda: api.nvmlDeviceGetPowerUsage(handle))
        gpu = Gpu(
            uuid=uuid,
            index=index,
            name=name,
            vram_total_mib=total_mib,
            vram_used_mib=used_mib,
            utilisation_ratio=None if busy is None else min(1.0, max(0.0, busy.gpu / 100)),
            temperature_c=self._optional(lambda: api.nvmlDeviceGetTemperature(handle, _TEMPERATURE_OF_GPU)),
            power_w=None if milliwatts is None else milliwatts / 1000,
            processes=self._processes(handle),
        )
        return gpu, "; ".join(notes)

    def _processes(self, handle: Any) -> tuple[GpuProcess, ...]:
        api = self._api
        rows = [
            *(self._optional(lambda: api.nvmlDeviceGetComputeRunningProcesses(handle)) or ()),
            *(self._optional(lambda: api.nvmlDeviceGetGraphicsRunningProcesses(handle)) or ()),
        ]
        # pid -> MiB or None; a process that computes and draws is in both lists with the same figure
        used: dict[int, int | None] = {}
        for row in rows:
            known = used.get(row.pid)
            told = None if row.usedGpuMemory is None else _mib_up(row.usedGpuMemory)
            used[row.pid] = told if known is None else max(known, told or 0)
        return tuple(
            GpuProcess(pid=pid, name=self._name_of(pid), vram_mib=vram_mib)
            for pid, vram_mib in sorted(used.items())
        )

    def _optional(self, ask: Callable[[], T]) -> T | None:
        """Return the figure, or None when this card, driver or user does not get it."""
        try:
            return ask()
        except self._api.NVMLError:
            return None


def _mib_up(size_bytes: int) -> int:
    """Round up, so that what is free is never overstated."""
    return -(-int(size_bytes) // _MIB)


def _text(value: str | bytes) -> str:
    return value.decode(errors="replace") if isinstance(value, bytes) else value


def _reason(error: Exception) -> str:
    return str(error) or type(error).__name__
