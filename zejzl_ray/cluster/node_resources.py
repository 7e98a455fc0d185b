"""What Ray is told that a machine has: found on the machine itself, or declared by a setting."""

import os

from pydantic import Field

from zejzl_ray.cluster.local_plan import gpu_settings
from zejzl_ray.cluster.names import MACHINE_LABEL
from zejzl_ray.cluster.node_start import ray_resources
from zejzl_ray.contracts.base import Contract
from zejzl_ray.machine.gpu_tags import gpu_tags
from zejzl_ray.machine.vram import VramSource, ask_vram_total
from zejzl_ray.settings import Settings


class NodeResources(Contract):
    """What the node of one machine offers."""

    machine: str
    cpus: int = Field(ge=0)
    object_store_mib: int = Field(ge=0)
    vram_mib: int = Field(ge=0, description="over all cards; what Ray shares out")
    vram_source: VramSource = Field(description="where that figure comes from")
    note: str = Field(default="", description="why cards or figures are missing")
    cards: dict[str, int] = Field(default_factory=dict, description="uuid -> MiB of each card")
    models: dict[str, str] = Field(default_factory=dict, description="uuid -> name of each card")
    tags: dict[str, str] = Field(default_factory=dict, description="labels beside that of the machine")

    @property
    def labels(self) -> dict[str, str]:
        """Every label of the node."""
        return {MACHINE_LABEL: self.machine, **self.tags}

    @property
    def resources(self) -> dict[str, int]:
        """What work can ask Ray for, beside CPUs."""
        return ray_resources(self.vram_mib, self.cards)


def node_resources(settings: Settings, machine: str, cpus: int | None = None) -> NodeResources:
    """Look at this machine and return what its node offers; blocks while a driver does.

    Args:
        settings: what is declared, and which cards belong to the machine.
        machine: its name.
        cpus: None declares all that the machine has.

    Raises:
        SettingsInvalid: cards or memory are set in a way that is not understood.
    """
    total = ask_vram_total(gpu_settings(settings, machine), machine)
    return NodeResources(
        machine=machine,
        cpus=cpus or os.cpu_count() or 1,
        object_store_mib=settings.object_store_mib,
        vram_mib=total.vram_mib,
        vram_source=total.source,
        note=total.note,
        cards=total.cards,
        models=total.models,
        tags=gpu_tags(total),
    )
