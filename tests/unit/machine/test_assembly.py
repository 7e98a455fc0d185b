import pytest

from zejzl_ray.contracts.machines import ReportMachine
from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.machine.assembly import build_reporting
from zejzl_ray.machine.settings import GpuSettings, NodeAgentSettings
from zejzl_ray.testing import ManualClock


class Registry:
    def __init__(self) -> None:
        self.requests: list[ReportMachine] = []

    async def report_machine(self, request: ReportMachine) -> None:
        self.requests.append(request)


async def test_a_node_agent_built_from_settings_reports_its_machine() -> None:
    registry = Registry()
    settings = NodeAgentSettings(gpus=GpuSettings(simulated="RTX 3060:12288"), cpu_count=2)
    reporting = build_reporting(
        "pc2",
        settings,
        lambda: registry,
        ManualClock(5.0),
        node_id="node-2",
        address="10.0.0.2",
        told_to_ray_mib=12_288,
    )
    assert await reporting.report_once()
    assert reporting.health().is_ready
    await reporting.stop()
    (request,) = registry.requests
    assert request.declared_vram_mib == 12_288
    assert (request.snapshot.machine, request.snapshot.node_id, request.snapshot.cpu_count) == (
        "pc2",
        "node-2",
        2,
    )
    assert [gpu.uuid for gpu in request.snapshot.gpus] == ["GPU-sim-pc2-0"]


def test_wrong_settings_are_refused_at_once() -> None:
    settings = NodeAgentSettings(gpus=GpuSettings(simulated="nonsense"))
    with pytest.raises(SettingsInvalid):
        build_reporting("pc2", settings, Registry, ManualClock())
