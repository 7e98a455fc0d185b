"""After the start: every service is ready."""

from collections.abc import Iterator
from typing import Any

from zejzl_ray.cluster_check.facts import ClusterFacts
from zejzl_ray.cluster_check.finding import Finding

_LOG = "Its log, services.log in the data directory of the head, and `zejzl logs` say more."


def check_services(facts: ClusterFacts) -> Iterator[Finding]:
    """What ``zejzl status`` lists is alive and ready."""
    if facts.services is None:
        return
    head = facts.head.machine.name
    if facts.services.status is None:
        error = " ".join((facts.services.error or "no answer").split())[:300].rstrip(".")
        yield Finding(head, "service", f"the services do not answer: {error}", _LOG)
        return
    for service in facts.services.status.get("services", ()):
        if not service.get("is_ready"):
            yield Finding(
                str(service.get("machine") or head),
                "service",
                f"{service.get('service')} is not ready: {_reason(service)}",
                _LOG,
            )


def _reason(service: dict[str, Any]) -> str:
    reasons = [
        f"{check.get('name')}: {check.get('reason')}"
        for check in service.get("checks", ())
        if check.get("status") != "ok" and check.get("reason")
    ]
    return "; ".join(reasons)[:300].rstrip(".") or "it gives no reason"
