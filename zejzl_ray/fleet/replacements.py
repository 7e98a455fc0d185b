"""Which old agents became which service: the plan that ``zejzl fleet consolidate`` carries out, as data."""

from dataclasses import dataclass
from typing import Final

from zejzl_ray.fleet.model import ServiceDeclaration


@dataclass(frozen=True)
class Replacement:
    """One service and the old agents whose work it does.

    ``former_names`` are names under which some revisions of the old files already list a forerunner of the
    service; where one of them occurs it is replaced too.
    """

    service: str
    home: str
    fallback: str
    port: int
    dependencies: tuple[str, ...]
    replaces: tuple[str, ...]
    former_names: tuple[str, ...] = ()

    def declaration(self, former: tuple[str, ...] = ()) -> ServiceDeclaration:
        """Return the service as a fleet declares it; ``former`` are the former names that the files use."""
        return ServiceDeclaration(
            name=self.service,
            home=self.home,
            fallback=self.fallback,
            port=self.port,
            dependencies=self.dependencies,
            aliases=(*self.replaces, *former),
        )


# In the order in which the composition root starts them.
REPLACEMENTS: Final = (
    Replacement(
        service="security_gateway",
        home="pc2",
        fallback="mainpc",
        port=7005,
        dependencies=(),
        replaces=("AuthenticationAgent", "AgentTrustScorer"),
        former_names=("SecurityGateway",),
    ),
    Replacement(
        service="core_orchestrator",
        home="mainpc",
        fallback="pc2",
        port=7000,
        dependencies=("security_gateway",),
        replaces=("ServiceRegistry", "SystemDigitalTwin", "RequestCoordinator", "UnifiedSystemAgent"),
        former_names=("CoreOrchestrator",),
    ),
    Replacement(
        service="resource_manager",
        home="pc2",
        fallback="mainpc",
        port=7001,
        dependencies=("security_gateway", "core_orchestrator"),
        replaces=("ResourceManager", "TaskScheduler", "AsyncProcessor", "VRAMOptimizerAgent"),
        former_names=("ResourceManagerSuite", "ResourceManagerScheduler"),
    ),
    Replacement(
        service="observability_hub",
        home="pc2",
        fallback="mainpc",
        port=7002,
        dependencies=("security_gateway", "core_orchestrator"),
        replaces=(
            "PredictiveHealthMonitor",
            "PerformanceMonitor",
            "HealthMonitor",
            "PerformanceLoggerAgent",
            "SystemHealthManager",
        ),
        former_names=("ObservabilityHub",),
    ),
    Replacement(
        service="error_bus",
        home="pc2",
        fallback="mainpc",
        port=7003,
        dependencies=("security_gateway", "core_orchestrator"),
        replaces=(),
        former_names=("ErrorBus", "ErrorBusSuite", "CentralErrorBus"),
    ),
)


def service_of() -> dict[str, str]:
    """Return the service that each old name (former names included) now means."""
    return {name: plan.service for plan in REPLACEMENTS for name in (*plan.replaces, *plan.former_names)}
