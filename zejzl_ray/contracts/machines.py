"""Machines on the wire: what a node agent reports and what the registry keeps.

Sizes are MiB (2**20 bytes) unless the name says bytes; ratios lie between 0 and 1.
"""

from typing import Literal

from pydantic import Field

from zejzl_ray.contracts.base import Contract
from zejzl_ray.ids import NAME_PATTERN


class GpuProcess(Contract):
    """A process that holds memory of a card, as the driver names it."""

    pid: int = Field(ge=0, description="process id; inside a container the driver may give the host's")
    name: str | None = Field(default=None, description="null when this machine does not know the process")
    vram_mib: int | None = Field(default=None, ge=0, description="null when the driver does not tell")


class Gpu(Contract):
    """One card at one moment. A figure that the card or the driver does not give is null."""

    uuid: str = Field(min_length=1)
    index: int = Field(ge=0, description="the driver's number; may change at a reboot, the uuid does not")
    name: str
    vram_total_mib: int = Field(ge=0, description="0 when the driver does not tell")
    vram_used_mib: int = Field(default=0, ge=0)
    utilisation_ratio: float | None = Field(default=None, ge=0, le=1)
    temperature_c: float | None = None
    power_w: float | None = Field(default=None, ge=0)
    processes: tuple[GpuProcess, ...] = Field(default=(), description="by pid, ascending")
    is_simulated: bool = False


class MachineCondition(Contract):
    """How a machine is, judged every half minute; figures are percent."""

    status: Literal["healthy", "warning", "critical"]
    checked_at_s: float = Field(ge=0)
    findings: tuple[str, ...] = Field(default=(), description="a sentence for each limit that is passed")
    advice: tuple[str, ...] = Field(default=(), description="what to do; empty where nothing is")
    checks: int = Field(default=1, ge=1, description="how many are kept, 100 at most")
    averages: dict[str, float] = Field(
        default_factory=dict, description="mean of the last 20 checks; empty before the tenth"
    )
    changes: dict[str, float] = Field(
        default_factory=dict, description="that mean minus the one of the 20 checks before, in points"
    )
    healthy_ratio: float | None = Field(
        default=None, ge=0, le=1, description="part of the checks that found nothing; null before the tenth"
    )


class MachineSnapshot(Contract):
    """One machine at one moment."""

    machine: str = Field(pattern=NAME_PATTERN)
    node_id: str = Field(default="", description="Ray's node id; empty outside Ray")
    hostname: str = ""
    address: str = ""
    cpu_count: int = Field(ge=1, description="logical CPUs that belong to this machine")
    cpu_busy_ratio: float = Field(ge=0, le=1, description="over the time since the snapshot before")
    ram_total_mib: int = Field(ge=0)
    ram_used_mib: int = Field(ge=0)
    disk_total_mib: int = Field(ge=0)
    disk_used_mib: int = Field(ge=0)
    net_sent_bytes: int = Field(ge=0, description="since the machine started, loopback left out")
    net_received_bytes: int = Field(ge=0, description="since the machine started, loopback left out")
    gpus: tuple[Gpu, ...] = Field(default=(), description="by index, ascending")
    gpu_note: str = Field(default="", description="empty, or why cards or some of their figures are missing")
    taken_at_s: float = Field(ge=0)
    condition: MachineCondition | None = Field(default=None, description="null before the first judgement")


class GetSnapshot(Contract):
    """Ask a node agent for its machine as it is now."""


class ReportMachine(Contract):
    """A node agent reports its machine. Safe to repeat: a newer snapshot replaces the older one."""

    request_id: str = Field(min_length=1)
    snapshot: MachineSnapshot
    declared_vram_mib: int = Field(default=0, ge=0, description="what Ray was told for this node as vram_mib")


class Machine(Contract):
    """A machine in the registry. ``revision`` grows with every stored change of it, from 1."""

    name: str = Field(pattern=NAME_PATTERN)
    snapshot: MachineSnapshot | None = Field(
        default=None, description="the latest; null before the first report"
    )
    is_alive: bool
    first_seen_at_s: float = Field(ge=0)
    last_seen_at_s: float = Field(ge=0)
    revision: int = Field(ge=0)
