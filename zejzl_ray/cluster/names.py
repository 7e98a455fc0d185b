"""Every name that two processes must agree on, written once."""

from typing import Final

NAMESPACE: Final = "zejzl"

CORE_ORCHESTRATOR: Final = "core_orchestrator"
OBSERVABILITY_HUB: Final = "observability_hub"
RESOURCE_MANAGER: Final = "resource_manager"
ERROR_BUS: Final = "error_bus"
SECURITY_GATEWAY: Final = "security_gateway"

SERVICES: Final = (CORE_ORCHESTRATOR, RESOURCE_MANAGER, OBSERVABILITY_HUB, ERROR_BUS, SECURITY_GATEWAY)

MAINPC: Final = "mainpc"
PC2: Final = "pc2"

MACHINE_LABEL: Final = "zejzl.io/machine"
VRAM_RESOURCE: Final = "vram_mib"

INGRESS_APP: Final = "ingress"


def card_resource(uuid: str) -> str:
    """Return the name of the Ray resource that stands for the video memory of one card, MiB."""
    return f"{VRAM_RESOURCE}:{uuid}"


def agent_host_name(host: str) -> str:
    """Return the actor name of a host of agents."""
    return f"agent_host:{host}"


def node_agent_name(machine: str) -> str:
    """Return the actor name of the node agent of a machine."""
    return f"node_agent:{machine}"
