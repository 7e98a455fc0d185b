import pytest

from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.machine.gpus import (
    CardSelection,
    GpuReading,
    NoCards,
    SelectedCards,
    cards_by_default,
    parse_cards,
)
from zejzl_ray.testing.gpus import FakeGpuBackend, fake_gpu

BIG = fake_gpu("GPU-big")
SMALL = fake_gpu("GPU-small", name="RTX 3060", vram_total_mib=12_288, index=1)


def test_the_words_all_and_none_and_uuids_are_understood() -> None:
    assert parse_cards(" all ") == CardSelection(None)
    assert parse_cards("none") == CardSelection(())
    assert parse_cards("GPU-a, GPU-b") == CardSelection(("GPU-a", "GPU-b"))


@pytest.mark.parametrize("text", ["", "GPU-a,", "all,GPU-a", "none,GPU-a", "GPU-a,GPU-a"])
def test_a_setting_that_is_not_understood_is_refused_with_the_remedy(text: str) -> None:
    with pytest.raises(SettingsInvalid, match=r"not understood.*Set 'all', 'none'") as caught:
        parse_cards(text)
    assert repr(text) in caught.value.message


def test_only_the_selected_cards_are_shown() -> None:
    cards = SelectedCards(FakeGpuBackend([BIG, SMALL]), parse_cards("GPU-small"))
    assert cards.read() == GpuReading((SMALL,))


def test_all_cards_pass_through_unchanged() -> None:
    reading = GpuReading((BIG, SMALL), "a note")
    assert CardSelection(None).pick(reading) is reading


def test_a_selected_card_that_is_not_there_is_named_after_the_backends_own_note() -> None:
    selection = parse_cards("GPU-big,GPU-gone")
    assert selection.pick(GpuReading((BIG,))) == GpuReading(
        (BIG,), "selected for this machine but not found: GPU-gone"
    )
    assert selection.pick(GpuReading((BIG,), "card 1 cannot be read")).note == (
        "card 1 cannot be read; selected for this machine but not found: GPU-gone"
    )


def test_closing_the_selection_closes_the_backend() -> None:
    backend = FakeGpuBackend([BIG])
    cards = SelectedCards(backend, parse_cards("GPU-big"))
    cards.read()
    cards.close()
    assert backend.is_closed


def test_no_cards_says_that_this_is_by_setting() -> None:
    backend = NoCards()
    assert backend.read() == GpuReading((), "this machine is set to have no cards")
    backend.close()
    assert backend.read().gpus == ()


def test_the_first_machine_of_a_computer_gets_all_cards() -> None:
    assert cards_by_default(["mainpc", "pc2"]) == {"mainpc": "all", "pc2": "none"}
    assert cards_by_default([]) == {}
