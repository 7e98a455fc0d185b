import pickle

import pytest

from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.machine.gpus import NoCards, SelectedCards
from zejzl_ray.machine.nvml import NvmlBackend
from zejzl_ray.machine.settings import GpuSettings, NodeAgentSettings, for_machine, open_backend
from zejzl_ray.machine.simulated import SimulatedBackend


def test_the_default_asks_nvml_and_simulates_nothing() -> None:
    assert isinstance(open_backend(GpuSettings(), "mainpc"), NvmlBackend)


def test_uuids_select_cards_and_none_asks_no_driver() -> None:
    assert isinstance(open_backend(GpuSettings(cards="GPU-a"), "mainpc"), SelectedCards)
    assert isinstance(open_backend(GpuSettings(cards="none"), "mainpc"), NoCards)


def test_simulated_cards_stand_in_for_real_ones_whatever_is_selected() -> None:
    backend = open_backend(GpuSettings(cards="none", simulated="A:100", declared_vram_mib=50), "pc2")
    assert isinstance(backend, SimulatedBackend)
    assert [gpu.uuid for gpu in backend.read().gpus] == ["GPU-sim-pc2-0"]


def test_video_memory_cannot_be_declared_for_a_machine_set_to_have_no_cards() -> None:
    with pytest.raises(SettingsInvalid, match="Machine pc2 is set to have no cards, but 12288 MiB"):
        open_backend(GpuSettings(cards="none", declared_vram_mib=12_288), "pc2")
    assert isinstance(open_backend(GpuSettings(cards="none", declared_vram_mib=0), "pc2"), NoCards)


def test_a_wrong_selection_is_refused_even_when_cards_are_simulated() -> None:
    with pytest.raises(SettingsInvalid):
        open_backend(GpuSettings(cards="", simulated="A:100"), "mainpc")


def test_a_setting_may_differ_by_machine() -> None:
    text = "mainpc = RTX 4090:24564,RTX 3060:12288 ; pc2=RTX 3060:12288"
    assert for_machine(text, "mainpc") == "RTX 4090:24564,RTX 3060:12288"
    assert for_machine(text, "pc2") == "RTX 3060:12288"
    assert for_machine(text, "pc3", "default") == "default"


def test_a_setting_without_machines_is_for_all_and_an_empty_one_is_the_default() -> None:
    assert for_machine(" all ", "pc2", "none") == "all"
    assert for_machine("  ", "pc2", "none") == "none"


@pytest.mark.parametrize(
    "text", ["mainpc=", "=all", "mainpc=all;mainpc=none", "mainpc=all;pc2", "mainpc=all;"]
)
def test_a_part_that_is_not_understood_is_refused(text: str) -> None:
    with pytest.raises(SettingsInvalid, match="each machine once"):
        for_machine(text, "mainpc")


def test_settings_survive_the_trip_to_the_machine() -> None:
    settings = NodeAgentSettings(gpus=GpuSettings(simulated="A:100"), cpu_count=4)
    assert pickle.loads(pickle.dumps(settings)) == settings
