"""The reports of the old bus: figures of a moment, and advice on them."""

from collections.abc import Mapping
from statistics import fmean
from typing import Any, Final

from zejzl_ray.bus.concurrency import ConcurrencyLimit
from zejzl_ray.bus.post_office import PostOffice

_RECENT_S: Final = 60.0
_CONGESTED_PERCENT: Final = 80.0
_BUSY_PERCENT: Final = 90.0
_SLOW_MS: Final = 10.0


def performance_snapshot(
    office: PostOffice, sizes: Mapping[str, int | None], limit: ConcurrencyLimit
) -> dict[str, Any]:
    """Return the figures of this moment; a mailbox without a size of its own has ``max_size`` null.

    Args:
        office: the bus.
        sizes: agent -> size that was asked for.
        limit: the bound of callbacks.
    """
    now_s = office.clock.now_s()
    uptime_s = now_s - office.started_at_s
    queue_health = {}
    for agent in office.agents():
        size, most = len(office.mailbox(agent)), sizes.get(agent)
        queue_health[agent] = {
            "current_size": size,
            "max_size": most,
            "utilization_percent": 100.0 * size / most if most else 0.0,
            "is_full": bool(most) and size >= (most or 0),
        }
    latencies = [each["avg_ms"] for each in office.figures.latency_by_type().values()]
    stats = limit.stats()
    return {
        "timestamp": now_s,
        "overall_throughput": office.sent / uptime_s if uptime_s > 0 else 0.0,
        "recent_throughput_60s": office.sent_within(_RECENT_S) / _RECENT_S,
        "total_agents": len(queue_health),
        "total_queues": len(queue_health),
        "queue_health": queue_health,
        "pending_requests_count": len(office.pending),
        "concurrency_active": stats["active"],
        "concurrency_limit": stats["semaphore_limit"],
        "concurrency_utilization_percent": 100.0 * stats["active"] / stats["semaphore_limit"],
        "avg_latency_ms": fmean(latencies) if latencies else 0.0,
    }


def advice(snapshot: Mapping[str, Any]) -> dict[str, Any]:
    """Return what the figures suggest to do; nothing is done, the history keeps its bound by itself."""
    found: dict[str, str] = {}
    congested = [
        agent
        for agent, queue in snapshot["queue_health"].items()
        if queue["utilization_percent"] > _CONGESTED_PERCENT
    ]
    if congested:
        found["queue_congestion_warning"] = (
            f"Mailboxes above {_CONGESTED_PERCENT:.0f} % of their size: {', '.join(congested)}. "
            "Read faster, or give them more room."
        )
    if snapshot["concurrency_utilization_percent"] > _BUSY_PERCENT:
        found["high_concurrency_warning"] = (
            f"{snapshot['concurrency_active']:.0f} of {snapshot['concurrency_limit']:.0f} callbacks run. "
            "Raise max_concurrent, or make them shorter."
        )
    if snapshot["avg_latency_ms"] > _SLOW_MS:
        found["latency_optimization"] = (
            f"Mail waits {snapshot['avg_latency_ms']:.1f} ms on average. Look for handlers that block the event loop."
        )
    return {
        "timestamp": snapshot["timestamp"],
        "optimizations_performed": found,
        "performance_snapshot": dict(snapshot),
    }
