"""Work that needs video memory goes where the video memory is."""

import asyncio
import json
from typing import Any

import psutil
import pytest
import ray

from tests.cluster.system import System
from zejzl_ray.cluster.placed_process import PlacedProcess
from zejzl_ray.cluster.vram_placement import Placement, VramPlacer, list_placed
from zejzl_ray.errors import NoCapacity
from zejzl_ray.sdk.connect import connect_async


class Model:
    """Stands for an agent that holds a model."""

    @ray.method
    def where(self) -> str:
        labels: dict[str, Any] = ray.get_runtime_context().get_node_labels()
        return str(labels["zejzl.io/machine"])


@pytest.fixture
def placer(ray_cluster: System, namespace: str) -> VramPlacer:
    client = connect_async("ray", token_file=ray_cluster.data_dir / "token")
    return VramPlacer(client.orchestrator, namespace)


async def end(*placements: Placement) -> None:
    """End the actors and wait until Ray has their memory back."""
    for placement in placements:
        ray.kill(placement.handle)
    for _ in range(200):
        if ray.available_resources().get("vram_mib") == ray.cluster_resources()["vram_mib"]:
            return
        await asyncio.sleep(0.05)
    pytest.fail("Ray did not take the video memory back within 10 s")


async def test_work_goes_to_the_big_card_then_to_the_other_and_is_refused_when_no_card_has_room(
    ray_cluster: System, placer: VramPlacer
) -> None:
    small = await placer.start(Model, name="small", vram_mib=8_000)
    assert small.machine == "mainpc"
    await end(small)

    large = await placer.start(Model, name="large", vram_mib=20_000)
    further = await placer.start(Model, name="further", vram_mib=8_000)
    assert (large.machine, further.machine) == ("mainpc", "pc2")
    where: list[Any] = [one.handle.where.remote() for one in (large, further)]
    assert [ray.get(ref, timeout=30) for ref in where] == ["mainpc", "pc2"]

    with pytest.raises(
        NoCapacity, match=r"30000 MiB .* largest free card is 4564 MiB \(RTX 4090 on mainpc\)"
    ):
        await placer.start(Model, name="giant", vram_mib=30_000)

    shown = json.loads(ray_cluster.zejzl("status", "--placement", "--json").stdout)
    asked = {row["name"]: (row["vram_mib"], row["machine"]) for row in shown if row["vram_mib"]}
    assert asked == {"large": (20_000, "mainpc"), "further": (8_000, "pc2")}
    await end(large, further)


async def test_two_that_fit_on_the_big_card_share_it(placer: VramPlacer) -> None:
    first = await placer.start(Model, name="first", vram_mib=12_000)
    second = await placer.start(Model, name="second", vram_mib=8_000)
    assert (first.machine, second.machine) == ("mainpc", "mainpc")
    assert first.gpu_uuid == second.gpu_uuid == "GPU-sim-mainpc-0"
    await end(first, second)


async def test_a_program_is_placed_by_its_need_and_ends_with_its_place(placer: VramPlacer) -> None:
    placed = await placer.start(PlacedProcess, (("sleep", "600"),), name="program", vram_mib=20_000)
    assert placed.machine == "mainpc"
    handle: Any = placed.handle
    pid = ray.get(handle.status.remote(), timeout=30).pid
    program = psutil.Process(pid)
    assert program.environ()["ZEJZL_GPU_UUID"] == placed.gpu_uuid
    beside = await placer.start(PlacedProcess, (("sleep", "600"),), name="beside", vram_mib=8_000)
    assert beside.machine == "pc2"
    await end(placed, beside)
    psutil.wait_procs([program], timeout=20)
    assert not psutil.pid_exists(pid)


async def test_starters_that_decide_at_the_same_moment_do_not_overcommit_a_card(
    ray_cluster: System, namespace: str
) -> None:
    client = connect_async("ray", token_file=ray_cluster.data_dir / "token")
    placers = [VramPlacer(client.orchestrator, namespace, start_timeout_s=15) for _ in range(3)]
    outcomes = await asyncio.gather(
        *(placer.start(Model, name=f"racer-{i}", vram_mib=20_000) for i, placer in enumerate(placers)),
        return_exceptions=True,
    )
    started = [outcome for outcome in outcomes if isinstance(outcome, Placement)]
    assert len(started) == 1, outcomes
    assert sum(actor.vram_mib for actor in list_placed()) == 20_000
    await end(*started)
