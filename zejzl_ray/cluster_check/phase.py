"""Whether a cluster has been started, from what its machines have written down."""

from collections.abc import Iterable

from zejzl_ray.cluster_check.facts import MachineFacts, Phase

_STARTED = ("starting", "up", "failed")


def phase_of(machines: Iterable[MachineFacts]) -> Phase:
    """Return AFTER when a node runs, or was started and not stopped by anybody, on any machine."""
    for machine in machines:
        if machine.own is not None and (machine.own.node.processes or machine.own.node.state in _STARTED):
            return Phase.AFTER
    return Phase.BEFORE
