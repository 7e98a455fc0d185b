"""Where each service lives, and the order in which they start."""

from dataclasses import dataclass
from typing import Final

from zejzl_ray.cluster.names import (
    CORE_ORCHESTRATOR,
    ERROR_BUS,
    MACHINE_LABEL,
    MAINPC,
    OBSERVABILITY_HUB,
    PC2,
    RESOURCE_MANAGER,
    SECURITY_GATEWAY,
)


@dataclass(frozen=True, slots=True)
class ServicePlace:
    """Home of a service, and the machine that takes it while home is away."""

    service: str
    home: str
    fallback: str


# Rows start together; a row starts when the one before it answers.
START_ORDER: Final = (
    (ServicePlace(SECURITY_GATEWAY, PC2, MAINPC),),
    (ServicePlace(CORE_ORCHESTRATOR, MAINPC, PC2),),
    (
        ServicePlace(RESOURCE_MANAGER, PC2, MAINPC),
        ServicePlace(OBSERVABILITY_HUB, PC2, MAINPC),
        ServicePlace(ERROR_BUS, PC2, MAINPC),
    ),
)

PLACES: Final = {place.service: place for row in START_ORDER for place in row}


def taken_over(place: ServicePlace, machine: str) -> ServicePlace:
    """Return where a service lives while a machine stands in for the head, which may be switched off at any time.

    Args:
        place: where it lives otherwise.
        machine: the one that stands in; empty: nobody does.
    """
    if not machine or place.home == machine:
        return place
    return ServicePlace(place.service, home=machine, fallback=place.home)


def scheduling_options(place: ServicePlace) -> dict[str, object]:
    """Return the Ray options that put an actor at its home, or at the fallback when home cannot take it."""
    return {
        "label_selector": {MACHINE_LABEL: place.home},
        "fallback_strategy": [{"label_selector": {MACHINE_LABEL: place.fallback}}],
    }
