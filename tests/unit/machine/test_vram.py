import pytest

from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.machine.gpus import GpuReading
from zejzl_ray.machine.settings import GpuSettings
from zejzl_ray.machine.vram import VramSource, VramTotal, ask_vram_total, disagreement, vram_total
from zejzl_ray.testing.gpus import fake_gpu

REAL = GpuReading((fake_gpu("GPU-a"), fake_gpu("GPU-b", name="RTX 3060", vram_total_mib=12_288, index=1)))
NOTHING = GpuReading((), "NVML is not available")


def test_ray_is_told_the_sum_of_what_was_found() -> None:
    assert vram_total(REAL, None, "mainpc") == VramTotal(36_852, VramSource.FOUND)


def test_without_cards_and_without_a_declaration_there_is_none_and_the_note_says_why() -> None:
    assert vram_total(NOTHING, None, "pc2") == VramTotal(0, VramSource.NONE, "NVML is not available")


def test_a_declaration_counts_where_no_card_is_found() -> None:
    assert vram_total(NOTHING, 12_288, "pc2") == VramTotal(
        12_288, VramSource.DECLARED, "NVML is not available"
    )


@pytest.mark.parametrize("declared_mib", [0, 20_000, 36_852])
def test_less_than_found_may_be_declared(declared_mib: int) -> None:
    assert vram_total(REAL, declared_mib, "mainpc") == VramTotal(declared_mib, VramSource.DECLARED)


def test_more_than_found_may_not_be_declared() -> None:
    with pytest.raises(SettingsInvalid) as caught:
        vram_total(REAL, 36_853, "mainpc")
    assert caught.value.message == (
        "36853 MiB of video memory are declared for machine mainpc, but its cards have 36852 MiB "
        "(RTX 4090 24564 MiB, RTX 3060 12288 MiB)."
    )
    assert caught.value.remedy == "Declare at most 36852, or nothing to use what is found."


def test_simulated_cards_set_no_limit() -> None:
    reading = GpuReading((fake_gpu(is_simulated=True),))
    assert vram_total(reading, None, "pc2") == VramTotal(24_564, VramSource.SIMULATED)
    assert vram_total(reading, 99_999, "pc2") == VramTotal(99_999, VramSource.SIMULATED)


def test_a_start_command_gets_the_figure_from_the_settings() -> None:
    settings = GpuSettings(simulated="RTX 4090:24564,RTX 3060:12288")
    assert ask_vram_total(settings, "mainpc") == VramTotal(36_852, VramSource.SIMULATED)
    assert ask_vram_total(GpuSettings(cards="none"), "pc2").vram_mib == 0


def test_agreement_with_ray_is_silent() -> None:
    assert disagreement(36_852, REAL, None, "mainpc") == ""
    assert disagreement(0, NOTHING, None, "pc2") == ""


def test_a_figure_that_changed_since_ray_was_started_is_told() -> None:
    assert disagreement(36_852, NOTHING, None, "mainpc") == (
        "Ray was told 36852 MiB of video memory when this machine started, now 0 MiB are there"
    )
    assert disagreement(0, REAL, None, "mainpc").endswith("now 36852 MiB are found")


def test_a_declaration_that_became_too_large_is_told() -> None:
    assert disagreement(40_000, REAL, 40_000, "mainpc").startswith("40000 MiB of video memory are declared")
