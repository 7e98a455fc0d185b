"""Where the five services live when a fleet does not say: their machines and their own ports."""

from typing import Final

from zejzl_ray.fleet.model import ServiceDeclaration

MAINPC: Final = "mainpc"
PC2: Final = "pc2"

DEFAULT_SERVICES: Final = {
    service.name: service
    for service in (
        # No fallback to be placed on at once: it moves to the other machine after a takeover.
        ServiceDeclaration(name="core_orchestrator", home=MAINPC, fallback=PC2, port=7000),
        ServiceDeclaration(name="resource_manager", home=PC2, fallback=MAINPC, port=7001),
        ServiceDeclaration(name="observability_hub", home=PC2, fallback=MAINPC, port=7002),
        ServiceDeclaration(name="error_bus", home=PC2, fallback=MAINPC, port=7003),
        ServiceDeclaration(name="security_gateway", home=PC2, fallback=MAINPC, port=7005),
    )
}

SERVICE_NAMES: Final = tuple(DEFAULT_SERVICES)


def same_machine_name(name: str) -> str:
    """Return a machine's name as it is spelled here: old files also write MainPC, main_pc and PC2."""
    folded = name.strip().lower().replace("_", "").replace("-", "")
    return folded if folded in (MAINPC, PC2) else name
