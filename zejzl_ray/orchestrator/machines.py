"""Machines: the latest report of each in memory, its hardware in the store."""

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from zejzl_ray.contracts.machines import Machine, MachineSnapshot, ReportMachine
from zejzl_ray.errors import Conflict, NoCapacity
from zejzl_ray.orchestrator.draft import Decision

_HARDWARE: Final = (
    "node_id",
    "hostname",
    "address",
    "cpu_count",
    "ram_total_mib",
    "disk_total_mib",
    "gpu_note",
)


class MachineTable:
    """Machine name -> machine, as last reported.

    Args:
        alive_s: how long after its last report a machine counts as alive.
    """

    def __init__(self, alive_s: float) -> None:
        self._alive_s = alive_s
        self._machines: dict[str, Machine] = {}

    def __len__(self) -> int:
        """Return the number of machines."""
        return len(self._machines)

    def put(self, machine: Machine) -> None:
        """Replace the record of a machine."""
        self._machines[machine.name] = machine

    def put_newer(self, machine: Machine) -> None:
        """Take over a machine that was seen later than the record says; its revision stays the stored one."""
        known = self._machines.get(machine.name)
        if known is not None and machine.last_seen_at_s > known.last_seen_at_s:
            self._machines[machine.name] = machine.model_copy(update={"revision": known.revision})

    def get(self, name: str, now_s: float) -> Machine | None:
        """Return a machine as it is at ``now_s``; None when unknown."""
        machine = self._machines.get(name)
        return None if machine is None else self._seen_from(machine, now_s)

    def listed(self, now_s: float) -> tuple[Machine, ...]:
        """Return all machines in the order of their names."""
        return tuple(self._seen_from(self._machines[name], now_s) for name in sorted(self._machines))

    def names(self) -> list[str]:
        """Return the names in order."""
        return sorted(self._machines)

    def address(self, name: str) -> str:
        """Return the address that a machine reported; empty when unknown."""
        machine = self._machines.get(name)
        return machine.snapshot.address if machine is not None and machine.snapshot is not None else ""

    def alive(self, now_s: float) -> Iterator[Machine]:
        """Return the machines that are alive at ``now_s``."""
        return (machine for machine in self._machines.values() if self._is_alive(machine, now_s))

    def needs_commit(self, snapshot: MachineSnapshot, now_s: float) -> bool:
        """Tell whether this report has to be decided and stored: a new machine, one that was away, other hardware."""
        machine = self._machines.get(snapshot.machine)
        return (
            machine is None
            or machine.snapshot is None
            or not self._is_alive(machine, now_s)
            or not has_same_hardware(machine.snapshot, snapshot)
        )

    def refresh(self, snapshot: MachineSnapshot, now_s: float) -> Machine:
        """Take a report of a known machine with the same hardware; in memory only."""
        machine = self._machines[snapshot.machine]
        self._machines[machine.name] = machine.model_copy(
            update={"snapshot": snapshot, "is_alive": True, "last_seen_at_s": now_s}
        )
        return self._machines[machine.name]

    def decide_report(
        self, request: ReportMachine, pending: Mapping[str, Machine], now_s: float, limit: int
    ) -> Decision:
        """Decide about a report of a new machine or of changed hardware.

        Args:
            request: the report.
            pending: machines decided in the same commit, by name; they go before what is committed.
            now_s: wall time.
            limit: machines at most.

        Raises:
            Conflict: a live machine already has one of the cards.
            NoCapacity: too many machines.
        """
        snapshot = request.snapshot
        known = pending.get(snapshot.machine) or self._machines.get(snapshot.machine)
        if known is None and len(self._machines.keys() | pending.keys()) >= limit:
            raise NoCapacity(f"{limit} machines are known already; {snapshot.machine} is one too many.")
        committed = (machine for machine in self.alive(now_s) if machine.name not in pending)
        self._check_cards(snapshot, (*committed, *pending.values()))
        machine = Machine(
            name=snapshot.machine,
            snapshot=snapshot,
            is_alive=True,
            first_seen_at_s=now_s if known is None else known.first_seen_at_s,
            last_seen_at_s=now_s,
            revision=1 if known is None else known.revision + 1,
        )
        return Decision(machine, machine=machine)

    @staticmethod
    def _check_cards(snapshot: MachineSnapshot, alive: Iterable[Machine]) -> None:
        cards = {gpu.uuid for gpu in snapshot.gpus}
        for other in alive:
            if other.name == snapshot.machine or other.snapshot is None:
                continue
            both = sorted(cards.intersection(gpu.uuid for gpu in other.snapshot.gpus))
            if both:
                raise Conflict(
                    f"Machine {snapshot.machine} reports card {both[0]}, which machine {other.name} has.",
                    "A card belongs to one machine: divide the cards in the settings of the two.",
                )

    def _is_alive(self, machine: Machine, now_s: float) -> bool:
        return now_s - machine.last_seen_at_s <= self._alive_s

    def _seen_from(self, machine: Machine, now_s: float) -> Machine:
        is_alive = self._is_alive(machine, now_s)
        return machine if machine.is_alive == is_alive else machine.model_copy(update={"is_alive": is_alive})


def has_same_hardware(first: MachineSnapshot, second: MachineSnapshot) -> bool:
    """Tell whether two reports differ only in what changes by itself (load, use, temperature)."""
    return all(getattr(first, field) == getattr(second, field) for field in _HARDWARE) and [
        (gpu.uuid, gpu.name, gpu.vram_total_mib) for gpu in first.gpus
    ] == [(gpu.uuid, gpu.name, gpu.vram_total_mib) for gpu in second.gpus]
