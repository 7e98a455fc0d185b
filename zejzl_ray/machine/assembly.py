"""Puts the parts of a node agent together from its settings."""

from collections.abc import Callable

from zejzl_ray.clock import Clock
from zejzl_ray.machine.probe import MachineProbe
from zejzl_ray.machine.reporting import MachineReporter, MachineReporting, ReportingPlan
from zejzl_ray.machine.settings import NodeAgentSettings, open_backend
from zejzl_ray.machine.watch import MachineWatch


def build_reporting(
    machine: str,
    settings: NodeAgentSettings,
    find_reporter: Callable[[], MachineReporter],
    clock: Clock,
    *,
    node_id: str = "",
    address: str = "",
    told_to_ray_mib: int = 0,
) -> MachineReporting:
    """Return the reporting of the machine this process runs on, not started yet.

    Args:
        machine: its name in the fleet.
        settings: cards, period and time limits.
        find_reporter: returns the receiver of the reports; see ``MachineReporting``.
        clock: time.
        node_id: Ray's id of this node.
        address: the address other machines reach this one at.
        told_to_ray_mib: this node's ``vram_mib`` in Ray.

    Raises:
        SettingsInvalid: the cards are set in a way that is not understood.
    """
    probe = MachineProbe(
        machine,
        open_backend(settings.gpus, machine),
        clock,
        node_id=node_id,
        address=address,
        disk_path=settings.disk_path,
        cpu_count=settings.cpu_count,
    )
    plan = ReportingPlan(
        machine=machine,
        period_s=settings.report_period_s,
        timeout_s=settings.report_timeout_s,
        told_to_ray_mib=told_to_ray_mib,
        declared_vram_mib=settings.gpus.declared_vram_mib,
        node_id=node_id,
    )
    limit_s = settings.read_timeout_s
    watch = MachineWatch(probe, gpu_timeout_s=limit_s, host_timeout_s=limit_s)
    return MachineReporting(watch, find_reporter, plan, clock)
