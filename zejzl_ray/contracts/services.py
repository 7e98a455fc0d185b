"""All operations of all services, and where each service lives."""

from typing import Final

from zejzl_ray.contracts import orchestrator
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.operation import Operation


def health_operation(service: str) -> Operation:
    """Return the operation that every service has: how are you?"""
    return Operation(
        name="health",
        service=service,
        request=GetHealth,
        reply=ServiceHealth,
        scope=f"{service}:health:read",
        verb="GET",
        path=f"/v1/health/{service}",
    )


RESOURCE_MANAGER_OPERATIONS: Final = (health_operation("resource_manager"),)
OBSERVABILITY_HUB_OPERATIONS: Final = (health_operation("observability_hub"),)
ERROR_BUS_OPERATIONS: Final = (health_operation("error_bus"),)
SECURITY_GATEWAY_OPERATIONS: Final = (health_operation("security_gateway"),)

OPERATIONS: Final[tuple[Operation, ...]] = (
    *orchestrator.OPERATIONS,
    *RESOURCE_MANAGER_OPERATIONS,
    *OBSERVABILITY_HUB_OPERATIONS,
    *ERROR_BUS_OPERATIONS,
    *SECURITY_GATEWAY_OPERATIONS,
)
