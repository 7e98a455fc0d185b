"""Where figures about cards come from: one Protocol, and the choice of which cards belong to a machine."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

from zejzl_ray.contracts.machines import Gpu
from zejzl_ray.errors import SettingsInvalid

ALL_CARDS = "all"
NO_CARDS = "none"


@dataclass(frozen=True, slots=True)
class GpuReading:
    """The cards at one moment, by index; ``note`` is empty or says why cards or figures are missing."""

    gpus: tuple[Gpu, ...] = ()
    note: str = ""


class GpuBackend(Protocol):
    """A source of figures about cards.

    ``read`` may block for as long as a driver does, so an event loop calls it in a thread; one call at a
    time.
    """

    def read(self) -> GpuReading:
        """Return what can be known now. Never raises: what is wrong is in the note."""
        ...

    def close(self) -> None:
        """Release the driver; safe to repeat. A later ``read`` opens it again."""
        ...


class NoCards:
    """The ``GpuBackend`` of a machine that is set to have no cards; asks no driver."""

    def read(self) -> GpuReading:
        """Return no cards, and that this is by setting."""
        return GpuReading((), "this machine is set to have no cards")

    def close(self) -> None:
        """Do nothing."""


@dataclass(frozen=True, slots=True)
class CardSelection:
    """Which of the computer's cards belong to a machine.

    Attributes:
        uuids: the uuids that do, in the order they were set; None means all of them, an empty tuple none.
    """

    uuids: tuple[str, ...] | None = None

    def pick(self, reading: GpuReading) -> GpuReading:
        """Return the reading with only the selected cards; the note names those that were not found."""
        if self.uuids is None:
            return reading
        chosen = tuple(gpu for gpu in reading.gpus if gpu.uuid in self.uuids)
        found = {gpu.uuid for gpu in chosen}
        missing = [uuid for uuid in self.uuids if uuid not in found]
        if not missing:
            return GpuReading(chosen, reading.note)
        lost = f"selected for this machine but not found: {', '.join(missing)}"
        return GpuReading(chosen, f"{reading.note}; {lost}" if reading.note else lost)


def parse_cards(text: str) -> CardSelection:
    """Read the setting: ``all``, ``none``, or uuids separated by commas.

    Raises:
        SettingsInvalid: it is empty, names a uuid twice, or mixes a word with uuids.
    """
    parts = [part.strip() for part in text.split(",")]
    if parts == [ALL_CARDS]:
        return CardSelection(None)
    if parts == [NO_CARDS]:
        return CardSelection(())
    if not all(parts) or ALL_CARDS in parts or NO_CARDS in parts or len(set(parts)) != len(parts):
        raise SettingsInvalid(
            f"The cards of a machine are set to {text!r}, which is not understood.",
            "Set 'all', 'none', or the uuids of its cards with commas between, as in `nvidia-smi -L`.",
        )
    return CardSelection(tuple(parts))


def cards_by_default(machines: Sequence[str]) -> dict[str, str]:
    """Return the setting of each machine on one computer: all cards to the first, none to the others."""
    return {machine: NO_CARDS if position else ALL_CARDS for position, machine in enumerate(machines)}


class SelectedCards:
    """A ``GpuBackend`` that shows only the cards that belong to a machine.

    Args:
        backend: where the figures come from; closed together with this one.
        selection: which of its cards to show.
    """

    def __init__(self, backend: GpuBackend, selection: CardSelection) -> None:
        self._backend = backend
        self._selection = selection

    def read(self) -> GpuReading:
        """Return the selected cards; a selected card that is not there is named in the note."""
        return self._selection.pick(self._backend.read())

    def close(self) -> None:
        """Close the backend behind."""
        self._backend.close()
