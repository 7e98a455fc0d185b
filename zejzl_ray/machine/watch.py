"""Snapshots for an event loop: reads run in threads, and a driver that hangs does not hide the machine."""

from typing import Protocol

from zejzl_ray.contracts.machines import MachineSnapshot
from zejzl_ray.errors import DeadlineExceeded
from zejzl_ray.machine.gpus import GpuReading
from zejzl_ray.machine.probe import HostReading
from zejzl_ray.machine.single_flight import SingleFlight


class Probe(Protocol):
    """What is needed of a ``MachineProbe``; the reads block."""

    def read_gpus(self) -> GpuReading:
        """Read the cards; does not raise."""
        ...

    def read_host(self) -> HostReading:
        """Read the operating system's figures."""
        ...

    def assemble(self, host: HostReading, reading: GpuReading) -> MachineSnapshot:
        """Join the two; does not block."""
        ...

    def close(self) -> None:
        """Release the driver."""
        ...


class MachineWatch:
    """Takes snapshots within a time limit.

    Args:
        probe: the machine; nobody else may read it.
        gpu_timeout_s: for the cards.
        host_timeout_s: for the rest, and for letting go of the driver.
    """

    def __init__(self, probe: Probe, *, gpu_timeout_s: float, host_timeout_s: float) -> None:
        self._probe = probe
        self._gpu_timeout_s = gpu_timeout_s
        self._host_timeout_s = host_timeout_s
        self._gpus = SingleFlight(probe.read_gpus, "The graphics driver")
        self._host = SingleFlight(probe.read_host, "The operating system")
        self._last_gpus: GpuReading | None = None

    @property
    def last_gpus(self) -> GpuReading | None:
        """The cards as they were last read; None until a read has succeeded."""
        return self._last_gpus

    async def snapshot(self) -> MachineSnapshot:
        """Return the machine as it is now; callers at the same time share one reading.

        While the graphics driver does not answer, the cards keep their last figures and the note says so.

        Raises:
            DeadlineExceeded: the operating system did not answer in time; safe to call again.
        """
        try:
            reading = self._last_gpus = await self._gpus.result(self._gpu_timeout_s)
        except DeadlineExceeded as error:
            if self._last_gpus is None:
                reading = GpuReading((), error.message)
            else:
                reading = GpuReading(
                    self._last_gpus.gpus, f"{error.message} The figures of the cards are old."
                )
        return self._probe.assemble(await self._host.result(self._host_timeout_s), reading)

    async def close(self) -> None:
        """Release the driver, unless a read still hangs in it; safe to repeat."""
        if self._gpus.is_running:
            return
        await SingleFlight(self._probe.close, "Closing the graphics driver").result(self._host_timeout_s)
