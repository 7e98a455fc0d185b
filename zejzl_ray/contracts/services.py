"""All operations of all services, and the ones that every service has."""

from typing import Final

from zejzl_ray.contracts import agent_host, observability_hub, orchestrator, security_gateway
from zejzl_ray.contracts.audit import AuditPage, Chains, ListChains, ReadAudit
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.life import Stopped, StopService
from zejzl_ray.contracts.logs import NODE_OPERATIONS
from zejzl_ray.contracts.machines import GetSnapshot, MachineSnapshot
from zejzl_ray.contracts.operation import Operation

NODE_AGENT: Final = "node_agent"


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


def stop_operation(service: str) -> Operation:
    """Return the operation that ends a service's process in order; over a handle only."""
    return Operation(
        name="stop",
        service=service,
        request=StopService,
        reply=Stopped,
        scope=f"{service}:service:admin",
        verb="POST",
        path="",
    )


def metrics_operation(service: str) -> Operation:
    """Return what a health port answers beside ``health``; no method of the service."""
    return Operation(
        name="metrics",
        service=service,
        request=GetHealth,
        reply=ServiceHealth,
        scope=f"{service}:metrics:read",
        verb="GET",
        path="/metrics",
    )


def audit_operations(service: str) -> tuple[Operation, ...]:
    """Return the operations with which a service shows its part of the audit trail."""
    return (
        Operation(
            name="list_audit_chains",
            service=service,
            request=ListChains,
            reply=Chains,
            scope=f"{service}:audit:read",
            verb="GET",
            path=f"/v1/audit/{service}/chains",
        ),
        Operation(
            name="read_audit",
            service=service,
            request=ReadAudit,
            reply=AuditPage,
            scope=f"{service}:audit:read",
            verb="GET",
            path=f"/v1/audit/{service}",
        ),
    )


def common_operations(service: str) -> tuple[Operation, ...]:
    """Return what every service can do beside its own work: health, audit, stop."""
    return (health_operation(service), *audit_operations(service), stop_operation(service))


NODE_AGENT_OPERATIONS: Final = (
    Operation(
        name="snapshot",
        service=NODE_AGENT,
        request=GetSnapshot,
        reply=MachineSnapshot,
        scope="node_agent:machine:read",
        verb="GET",
        path="",
    ),
    Operation(
        name="health",
        service=NODE_AGENT,
        request=GetHealth,
        reply=ServiceHealth,
        scope="node_agent:health:read",
        verb="GET",
        path="",
    ),
    *NODE_OPERATIONS,
    stop_operation(NODE_AGENT),
)

# What hosts of agents do over their handles only; the others are routes of the ingress too.
AGENT_HOST_OPERATIONS: Final = (
    *(operation for operation in agent_host.OPERATIONS if not operation.path),
    Operation(
        name="health",
        service=agent_host.SERVICE,
        request=GetHealth,
        reply=ServiceHealth,
        scope="agent_host:health:read",
        verb="GET",
        path="",
    ),
    stop_operation(agent_host.SERVICE),
)

SERVICE_NAMES: Final = (
    orchestrator.SERVICE,
    "resource_manager",
    observability_hub.SERVICE,
    "error_bus",
    security_gateway.SERVICE,
)

OPERATIONS: Final[tuple[Operation, ...]] = (
    *orchestrator.OPERATIONS,
    *security_gateway.OPERATIONS,
    *observability_hub.OPERATIONS,
    *(operation for operation in agent_host.OPERATIONS if operation.path),
    *(operation for service in SERVICE_NAMES for operation in common_operations(service)),
)

# service -> operation name -> operation; node agents and hosts of agents too
BY_SERVICE: Final[dict[str, dict[str, Operation]]] = {
    service: {operation.name: operation for operation in OPERATIONS if operation.service == service}
    for service in SERVICE_NAMES
} | {
    NODE_AGENT: {operation.name: operation for operation in NODE_AGENT_OPERATIONS},
    agent_host.SERVICE: {
        operation.name: operation
        for operation in (*AGENT_HOST_OPERATIONS, *OPERATIONS)
        if operation.service == agent_host.SERVICE
    },
}
