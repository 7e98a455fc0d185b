"""core_orchestrator without Ray: the registry of agents and machines.

``service.py`` is the entry; ``config.py`` holds what can be set, ``states.py`` the life of an agent as a
table.
"""

from zejzl_ray.orchestrator.config import RegistryConfig
from zejzl_ray.orchestrator.ports import ProbeOutcome, Prober, Publisher
from zejzl_ray.orchestrator.service import CoreOrchestrator
from zejzl_ray.orchestrator.states import render_table
from zejzl_ray.orchestrator.tcp_prober import TcpProber

__all__ = [
    "CoreOrchestrator",
    "ProbeOutcome",
    "Prober",
    "Publisher",
    "RegistryConfig",
    "TcpProber",
    "render_table",
]
