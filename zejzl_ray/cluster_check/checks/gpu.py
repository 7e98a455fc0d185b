"""Where cards are, or shall be, the driver answers."""

from collections.abc import Iterator
from typing import Final

from zejzl_ray.cluster_check.facts import ClusterFacts, Gpus
from zejzl_ray.cluster_check.finding import Finding
from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.machine.gpus import ALL_CARDS, parse_cards
from zejzl_ray.machine.settings import for_machine
from zejzl_ray.machine.simulated import SimulatedBackend

_REMEDY: Final = (
    "Install or mend the NVIDIA driver there until `nvidia-smi` lists the cards; often a restart does it."
)


def check_gpus(facts: ClusterFacts) -> Iterator[Finding]:
    """A machine with a card plugged in, or declared, has a driver that names it; simulated cards need none."""
    for machine, own in facts.knowing("gpus"):
        name = machine.machine.name
        try:
            named = for_machine(own.settings.get("GPU_CARDS", ""), name)
            simulated = for_machine(own.settings.get("SIMULATED_GPUS", ""), name)
            if simulated:
                SimulatedBackend(simulated, name)
            parse_cards(named or ALL_CARDS)
        except SettingsInvalid as error:
            yield Finding(name, "gpu", error.message.rstrip("."), error.remedy)
            continue
        if not simulated and named != "none":
            yield from _cards(name, own.gpus, named, facts.fleet_gpus.get(name, ()))


def _cards(machine: str, gpus: Gpus, named: str, declared: tuple[str, ...]) -> Iterator[Finding]:
    uuids = "" if named == "all" else named
    wanted = uuids or ", ".join(declared)
    if gpus.plugged > len(gpus.cards):
        missing = f"{len(gpus.cards)} of {gpus.plugged} NVIDIA cards answer"
        yield Finding(machine, "gpu", f"{missing}: {gpus.error or 'the driver names no more'}", _REMEDY)
    elif wanted and not gpus.cards:
        yield Finding(machine, "gpu", f"{wanted} is declared, but no card answers: {gpus.error}", _REMEDY)
    elif uuids:
        yield from _unknown(machine, uuids, {card.get("uuid", "") for card in gpus.cards})


def _unknown(machine: str, named: str, there: set[str]) -> Iterator[Finding]:
    unknown = [uuid for uuid in (part.strip() for part in named.split(",")) if uuid and uuid not in there]
    if unknown:
        yield Finding(
            machine,
            "gpu",
            f"ZEJZL_GPU_CARDS names {', '.join(unknown)}, which is not there; there is {', '.join(sorted(there))}",
            "Correct the setting; `nvidia-smi -L` lists the cards.",
        )
