"""All operations of all services, and the ones that every service has."""

from typing import Final

from zejzl_ray.contracts import agent_host, observability_hub, orchestrator, security_gateway
from zejzl_ray.contracts.audit import AuditPage, Chains, ListChains, ReadAudit
from zejzl_ray.contracts.health import GetHealth, ServiceHealth
from zejzl_ray.contracts.life import Stopped, StopService
from zejzl_ray.contracts.logs import LogPage, ReadLogs
from zejzl_ray.contracts.machines import GetSnapshot, MachineSnapshot
from zejzl_ray.contracts.operation import Operation, OperationsOf

NODE_AGENT: Final = "node_agent"


def health_operation(service: str, *, path: str | None = None) -> Operation:
    """Return the operation that every service has: how are you? With an empty path it is over a handle only."""
    route = f"/v1/health/{service}" if path is None else path
    return OperationsOf(service)("health", GetHealth, ServiceHealth, "health:read", "GET", route)


def stop_operation(service: str) -> Operation:
    """Return the operation that ends a service's process in order; over a handle only."""
    return OperationsOf(service)("stop", StopService, Stopped, "service:admin")


def metrics_operation(service: str) -> Operation:
    """Return what a health port answers beside ``health``; no method of the service."""
    return OperationsOf(service)("metrics", GetHealth, ServiceHealth, "metrics:read", "GET", "/metrics")


def audit_operations(service: str) -> tuple[Operation, ...]:
    """Return the operations with which a service shows its part of the audit trail."""
    op, trail = OperationsOf(service), f"/v1/audit/{service}"
    return (
        op("list_audit_chains", ListChains, Chains, "audit:read", "GET", f"{trail}/chains"),
        op("read_audit", ReadAudit, AuditPage, "audit:read", "GET", trail),
    )


def common_operations(service: str) -> tuple[Operation, ...]:
    """Return what every service can do beside its own work: health, audit, stop."""
    return (health_operation(service), *audit_operations(service), stop_operation(service))


_node_op: Final = OperationsOf(NODE_AGENT)

NODE_AGENT_OPERATIONS: Final = (
    _node_op("snapshot", GetSnapshot, MachineSnapshot, "machine:read", "GET"),
    _node_op("read_logs", ReadLogs, LogPage, "logs:read", "GET"),
    health_operation(NODE_AGENT, path=""),
    stop_operation(NODE_AGENT),
)

# What hosts of agents do over their handles only; the others are routes of the ingress too.
AGENT_HOST_OPERATIONS: Final = (
    *(operation for operation in agent_host.OPERATIONS if not operation.path),
    health_operation(agent_host.SERVICE, path=""),
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
