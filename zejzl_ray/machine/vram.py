"""How much video memory Ray is told that a machine has: what was found, or what was declared."""

from dataclasses import dataclass, field, replace
from enum import StrEnum

from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.machine.gpus import GpuReading
from zejzl_ray.machine.settings import GpuSettings, open_backend


class VramSource(StrEnum):
    """Where the figure comes from."""

    FOUND = "found"
    DECLARED = "declared"
    SIMULATED = "simulated"
    NONE = "none"


@dataclass(frozen=True, slots=True)
class VramTotal:
    """Video memory of one machine over all its cards, and how it is known.

    Attributes:
        vram_mib: over all cards.
        source: where the figure comes from.
        note: why cards or figures are missing.
        cards: uuid -> MiB of that card.
        models: uuid -> name of that card.
    """

    vram_mib: int
    source: VramSource
    note: str = ""
    cards: dict[str, int] = field(default_factory=dict, compare=False)
    models: dict[str, str] = field(default_factory=dict, compare=False)


def vram_total(reading: GpuReading, declared_mib: int | None, machine: str) -> VramTotal:
    """Decide what Ray is told as ``vram_mib``.

    A declared figure wins. It may be smaller than what the cards have, to keep some back for a desktop, but
    not larger: it is taken at its word only where no card is found, or where the cards are simulated.

    Args:
        reading: the cards that belong to the machine.
        declared_mib: None when nothing is declared; 0 declares that the cards are not for the fleet.
        machine: for the message.

    Raises:
        SettingsInvalid: more is declared than the real cards have.
    """
    found_mib = sum(gpu.vram_total_mib for gpu in reading.gpus)
    is_simulated = any(gpu.is_simulated for gpu in reading.gpus)
    if declared_mib is None:
        if not found_mib:
            return VramTotal(0, VramSource.NONE, reading.note)
        return VramTotal(found_mib, VramSource.SIMULATED if is_simulated else VramSource.FOUND, reading.note)
    if found_mib and not is_simulated and declared_mib > found_mib:
        cards = ", ".join(f"{gpu.name} {gpu.vram_total_mib} MiB" for gpu in reading.gpus)
        raise SettingsInvalid(
            f"{declared_mib} MiB of video memory are declared for machine {machine}, but its cards "
            f"have {found_mib} MiB ({cards}).",
            f"Declare at most {found_mib}, or nothing to use what is found.",
        )
    return VramTotal(
        declared_mib, VramSource.SIMULATED if is_simulated else VramSource.DECLARED, reading.note
    )


def ask_vram_total(settings: GpuSettings, machine: str) -> VramTotal:
    """Look at the cards once and decide what Ray is told when it starts; blocks while a driver does.

    Raises:
        SettingsInvalid: as ``vram_total`` and ``open_backend``.
    """
    backend = open_backend(settings, machine)
    try:
        reading = backend.read()
        cards = {gpu.uuid: gpu.vram_total_mib for gpu in reading.gpus}
        models = {gpu.uuid: gpu.name for gpu in reading.gpus}
        total = vram_total(reading, settings.declared_vram_mib, machine)
        return replace(total, cards=cards, models=models)
    finally:
        backend.close()


def disagreement(told_to_ray_mib: int, reading: GpuReading, declared_mib: int | None, machine: str) -> str:
    """Return why Ray's ``vram_mib`` is not what the cards and the settings say now; empty when it is."""
    try:
        total = vram_total(reading, declared_mib, machine)
    except SettingsInvalid as error:
        return error.message
    if total.vram_mib == told_to_ray_mib:
        return ""
    return (
        f"Ray was told {told_to_ray_mib} MiB of video memory when this machine started, "
        f"now {total.vram_mib} MiB are {total.source.value if total.vram_mib else 'there'}"
    )
