import pytest

from zejzl_ray.contracts.machines import GpuProcess
from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.machine.simulated import SimulatedBackend


def test_simulated_cards_are_marked_and_keep_their_uuids() -> None:
    first, second = SimulatedBackend("RTX 4090:24564, RTX 3060:12288", "mainpc").read().gpus
    assert (first.uuid, first.name, first.vram_total_mib, first.index) == (
        "GPU-sim-mainpc-0",
        "RTX 4090",
        24_564,
        0,
    )
    assert (second.uuid, second.name, second.vram_total_mib) == ("GPU-sim-mainpc-1", "RTX 3060", 12_288)
    assert first.is_simulated
    assert second.is_simulated
    again = SimulatedBackend("RTX 4090:24564, RTX 3060:12288", "mainpc").read().gpus
    assert again == (first, second)


def test_two_machines_never_share_a_simulated_card() -> None:
    uuids = {SimulatedBackend("A:1", machine).read().gpus[0].uuid for machine in ("mainpc", "pc2")}
    assert len(uuids) == 2


def test_usage_can_be_set_and_survives_close() -> None:
    backend = SimulatedBackend("A:100,B:50", "mainpc")
    backend.set_used("GPU-sim-mainpc-1", 20, pid=7, utilisation_ratio=0.5)
    backend.close()
    first, second = backend.read().gpus
    assert first.vram_used_mib == 0
    assert (second.vram_used_mib, second.utilisation_ratio) == (20, 0.5)
    assert second.processes == (GpuProcess(pid=7, vram_mib=20),)
    backend.set_used("GPU-sim-mainpc-1", 0)
    assert backend.read().gpus[1].processes == ()


@pytest.mark.parametrize(
    ("uuid", "vram_mib"), [("GPU-x", 1), ("GPU-sim-mainpc-0", 101), ("GPU-sim-mainpc-0", -1)]
)
def test_usage_outside_the_card_is_refused(uuid: str, vram_mib: int) -> None:
    with pytest.raises(SettingsInvalid, match="unknown card or outside its size"):
        SimulatedBackend("A:100", "mainpc").set_used(uuid, vram_mib)


@pytest.mark.parametrize("spec", ["", "RTX 4090", ":100", "A:0", "A:-5", "A:1.5", "A:24GB", "A:1,,B:2"])
def test_a_text_that_is_not_understood_is_refused_with_an_example(spec: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"not understood.*RTX 4090:24564"):
        SimulatedBackend(spec, "mainpc")
