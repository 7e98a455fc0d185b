"""There is room for state, for Ray's files and for objects in memory."""

from collections.abc import Iterator
from typing import Final

from zejzl_ray.cluster_check.facts import ClusterFacts, Disk, OwnFacts
from zejzl_ray.cluster_check.finding import Finding

LEAST_FREE_MIB: Final = 1024.0
_LEAST_FREE_INODES: Final = 1000
_FULL_RATIO: Final = 0.95  # from here on Ray makes no objects that it would have to spill
_SHARED: Final = "/dev/shm"  # noqa: S108  # nosec B108  # looked at only
_OBJECT_STORE_MIB: Final = 256
_SHARED_REST_MIB: Final = 64.0  # of a running node: room for some objects more


def check_disks(facts: ClusterFacts) -> Iterator[Finding]:
    """Each place that a node writes to can be written and has a GiB left; shared memory holds the object store."""
    for machine, own in facts.knowing("disks"):
        yield from _machine(machine.machine.name, own)


def _machine(name: str, own: OwnFacts) -> Iterator[Finding]:
    seen: set[tuple[int, str]] = set()
    for disk in own.disks:
        fault = _shared_fault(disk, own) if disk.path == _SHARED else _fault(disk)
        if fault is not None and (disk.device, fault[0]) not in seen:
            seen.add((disk.device, fault[0]))
            yield Finding(name, "disk", f"{disk.path} ({disk.use}) {fault[1]}", fault[2])


def _fault(disk: Disk) -> tuple[str, str, str] | None:
    if disk.error:
        return (
            "error",
            f"cannot be looked at: {disk.error}",
            f"Look at the owners and modes above {disk.path}",
        )
    if not disk.is_directory:
        return "kind", "cannot be used: there is a file where a directory should be", "Move the file away."
    if not disk.is_writable:
        return "closed", "cannot be written", f"Look at its owner and mode, and at `mount`: {disk.path}"
    if disk.free_inodes is not None and disk.free_inodes < _LEAST_FREE_INODES:
        return (
            "inodes",
            f"has room for {disk.free_inodes} more files only",
            "Remove files, or use another disk.",
        )
    used_ratio = 1 - disk.free_mib / disk.total_mib if disk.total_mib else 1.0
    if disk.free_mib < LEAST_FREE_MIB:
        return (
            "room",
            f"has {disk.free_mib:.0f} MiB left; 1024 are needed",
            "Free some space, or use another disk.",
        )
    if used_ratio > _FULL_RATIO and disk.free_mib < 10 * LEAST_FREE_MIB:
        return "room", f"is {used_ratio:.0%} full; above 95 % Ray makes no objects", "Free some space."
    return None


def _shared_fault(disk: Disk, own: OwnFacts) -> tuple[str, str, str] | None:
    if disk.error:
        return _fault(disk)
    text = own.settings.get("OBJECT_STORE_MIB", "")
    wanted_mib = int(text) if text.isdecimal() else _OBJECT_STORE_MIB
    raylet = own.node.process("raylet")
    if raylet is None:
        if disk.free_mib >= wanted_mib:
            return None
        what = f"has {disk.free_mib:.0f} MiB left, but Ray's object store takes {wanted_mib}"
        return (
            "shared",
            what,
            "Set ZEJZL_OBJECT_STORE_MIB lower on that machine, or make shared memory larger.",
        )
    # A running node takes its share piece by piece. Where nobody may see how much it has, only nothing left is a fault.
    held_mib = raylet.shared_mib if raylet.shared_mib is not None else wanted_mib
    rest_mib = min(max(wanted_mib - held_mib, 0.0), _SHARED_REST_MIB)
    if disk.free_mib >= rest_mib and (raylet.shared_mib is not None or disk.free_mib >= 1):
        return None
    what = f"has {disk.free_mib:.0f} MiB left for {wanted_mib} of Ray's object store, which has taken {held_mib:.0f}"
    return "shared", what, f"Find what fills it: ls -lS {_SHARED}; remove what no program uses."
