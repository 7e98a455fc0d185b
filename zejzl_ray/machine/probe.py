"""A snapshot of the machine this process runs on."""

import socket
from dataclasses import dataclass
from pathlib import Path

import psutil

from zejzl_ray.clock import Clock
from zejzl_ray.contracts.machines import MachineSnapshot
from zejzl_ray.machine.gpus import GpuBackend, GpuReading

_MIB = 1024 * 1024
_LOOPBACK = frozenset({"lo", "lo0"})


@dataclass(frozen=True, slots=True)
class HostReading:
    """What the operating system tells; see ``MachineSnapshot`` for units."""

    cpu_busy_ratio: float
    ram_total_mib: int
    ram_used_mib: int
    disk_total_mib: int
    disk_used_mib: int
    net_sent_bytes: int
    net_received_bytes: int


@dataclass(frozen=True, slots=True)
class CpuTimes:
    """Seconds of CPU time since the machine started, over all CPUs."""

    busy_s: float
    total_s: float

    def busy_ratio_since(self, earlier: "CpuTimes") -> float:
        """Return the busy part of the time between two readings, 0 to 1; 0 when no time has passed."""
        total_s = self.total_s - earlier.total_s
        if total_s <= 0:
            return 0.0
        return min(1.0, max(0.0, (self.busy_s - earlier.busy_s) / total_s))


class MachineProbe:
    """Takes snapshots of one machine.

    Every ``read_*`` blocks for as long as a driver or a disk does: callers with an event loop use a thread,
    and one call of each kind at a time.

    Args:
        machine: the name the machine has in the fleet.
        backend: where its cards are read; closed by ``close``.
        clock: wall time of the snapshots.
        node_id: Ray's id of the node, where there is one.
        address: the address other machines reach this one at.
        disk_path: the disk that holds this path is reported; where it does not exist yet, its nearest parent.
        cpu_count: CPUs that belong to the machine; None: all of the computer.
    """

    def __init__(
        self,
        machine: str,
        backend: GpuBackend,
        clock: Clock,
        *,
        node_id: str = "",
        address: str = "",
        disk_path: str = "/",
        cpu_count: int | None = None,
    ) -> None:
        self.machine = machine
        self.node_id = node_id
        self._backend = backend
        self._clock = clock
        self._address = address
        self._disk_path = disk_path
        self._cpu_count = cpu_count or psutil.cpu_count() or 1
        self._hostname = socket.gethostname()
        self._cpu_before = cpu_times()

    def snapshot(self) -> MachineSnapshot:
        """Read everything now; blocks."""
        return self.assemble(self.read_host(), self.read_gpus())

    def read_gpus(self) -> GpuReading:
        """Read the cards; blocks while the driver does, and never raises."""
        return self._backend.read()

    def read_host(self) -> HostReading:
        """Read CPU (the mean since the call before, at first since the start), memory, disk and network."""
        now = cpu_times()
        busy_ratio = now.busy_ratio_since(self._cpu_before)
        self._cpu_before = now
        memory = psutil.virtual_memory()
        disk = psutil.disk_usage(str(existing_parent(Path(self._disk_path))))
        cards = {
            name: card for name, card in psutil.net_io_counters(pernic=True).items() if name not in _LOOPBACK
        }
        return HostReading(
            cpu_busy_ratio=busy_ratio,
            ram_total_mib=memory.total // _MIB,
            ram_used_mib=(memory.total - memory.available) // _MIB,
            disk_total_mib=disk.total // _MIB,
            disk_used_mib=disk.used // _MIB,
            net_sent_bytes=sum(card.bytes_sent for card in cards.values()),
            net_received_bytes=sum(card.bytes_recv for card in cards.values()),
        )

    def assemble(self, host: HostReading, reading: GpuReading) -> MachineSnapshot:
        """Join the two readings into a snapshot of now; does not block."""
        return MachineSnapshot(
            machine=self.machine,
            node_id=self.node_id,
            hostname=self._hostname,
            address=self._address,
            cpu_count=self._cpu_count,
            cpu_busy_ratio=host.cpu_busy_ratio,
            ram_total_mib=host.ram_total_mib,
            ram_used_mib=host.ram_used_mib,
            disk_total_mib=host.disk_total_mib,
            disk_used_mib=host.disk_used_mib,
            net_sent_bytes=host.net_sent_bytes,
            net_received_bytes=host.net_received_bytes,
            gpus=reading.gpus,
            gpu_note=reading.note,
            taken_at_s=self._clock.now_s(),
        )

    def close(self) -> None:
        """Release the driver; safe to repeat."""
        self._backend.close()


def cpu_times() -> CpuTimes:
    """Return the CPU time spent so far.

    psutil's own ``cpu_percent`` keeps its memory per thread, and reads here come from changing threads.
    """
    times = psutil.cpu_times()._asdict()
    # Linux counts the time of guests in user and nice as well.
    total_s = sum(times.values()) - times.get("guest", 0.0) - times.get("guest_nice", 0.0)
    return CpuTimes(busy_s=total_s - times["idle"] - times.get("iowait", 0.0), total_s=total_s)


def existing_parent(path: Path) -> Path:
    """Return the path, or the nearest directory above it that exists."""
    path = path.expanduser().absolute()
    return next((candidate for candidate in (path, *path.parents) if candidate.exists()), Path(path.anchor))
