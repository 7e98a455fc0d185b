"""What can be set for the node agent of one machine."""

from pydantic import Field

from zejzl_ray.contracts.base import Contract
from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.machine.gpus import ALL_CARDS, GpuBackend, NoCards, SelectedCards, parse_cards
from zejzl_ray.machine.nvml import NvmlBackend
from zejzl_ray.machine.simulated import SimulatedBackend
from zejzl_ray.settings import LogSettings


class GpuSettings(Contract):
    """Which cards a machine has, and what is declared about them."""

    cards: str = Field(default=ALL_CARDS, description="real cards: all, none, or uuids separated by commas")
    simulated: str = Field(default="", description="'RTX 4090:24564,...' in place of real cards")
    declared_vram_mib: int | None = Field(default=None, ge=0, description="null: what is found")


class NodeAgentSettings(Contract):
    """How a node agent works; travels to the machine with the actor, so it holds plain values only."""

    gpus: GpuSettings = GpuSettings()
    report_period_s: float = Field(default=2.0, gt=0)
    report_timeout_s: float = Field(
        default=5.0, gt=0, description="for one report, and for finding its receiver"
    )
    read_timeout_s: float = Field(
        default=5.0, gt=0, description="for the drivers and the operating system to answer"
    )
    disk_path: str = Field(
        default="/", description="the disk that is reported is the one that holds this path"
    )
    logs: LogSettings = LogSettings()
    cpu_count: int | None = Field(
        default=None, ge=1, description="CPUs of this machine; null: all of the computer"
    )


def for_machine(text: str, machine: str, default: str = "") -> str:
    """Return a machine's part of a setting that may differ by machine.

    ``mainpc=all;pc2=none`` gives each named machine its part and the others the default; a text without ``=``
    is for every machine; an empty one means the default.

    Raises:
        SettingsInvalid: a part has no machine, no value, or a machine occurs twice.
    """
    if not text.strip():
        return default
    if "=" not in text:
        return text.strip()
    parts: dict[str, str] = {}
    for part in text.split(";"):
        name, _, value = (piece.strip() for piece in part.partition("="))
        if not name or not value or name in parts:
            raise SettingsInvalid(
                f"Part {part.strip()!r} of the setting {text!r} is not understood.",
                "Write it as 'mainpc=...;pc2=...', each machine once.",
            )
        parts[name] = value
    return parts.get(machine, default)


def open_backend(settings: GpuSettings, machine: str) -> GpuBackend:
    """Return the source of figures that the settings ask for; only a setting makes cards simulated.

    Raises:
        SettingsInvalid: a text is not understood, or video memory is declared for a machine set to have no
            cards.
    """
    selection = parse_cards(settings.cards)
    if settings.simulated:
        return SimulatedBackend(settings.simulated, machine)
    if selection.uuids is None:
        return NvmlBackend()
    if selection.uuids:
        return SelectedCards(NvmlBackend(), selection)
    if settings.declared_vram_mib:
        raise SettingsInvalid(
            f"Machine {machine} is set to have no cards, but {settings.declared_vram_mib} MiB of video "
            "memory are declared for it.",
            "Give it a card or declare nothing.",
        )
    return NoCards()
