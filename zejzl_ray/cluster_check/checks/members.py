"""After the start: every declared machine is a live node of the Ray cluster, or it is said why not."""

from collections.abc import Iterator, Sequence

from zejzl_ray.cluster.names import MACHINE_LABEL
from zejzl_ray.cluster_check.checks.why_missing import why_head_is_away, why_missing
from zejzl_ray.cluster_check.facts import ClusterFacts, MachineFacts, Phase
from zejzl_ray.cluster_check.finding import Finding


def check_members(facts: ClusterFacts, others: Sequence[Finding]) -> Iterator[Finding]:
    """Name each machine that is missing from the Ray cluster, and the cause.

    Args:
        facts: of the cluster.
        others: what the other checks have found; one of those may be the cause.
    """
    if facts.phase is Phase.BEFORE:
        return
    head = facts.head
    if head.own is None:
        return  # the finding about ssh says all that can be said
    if head.own.node.process("gcs_server") is None:
        what, remedy = why_head_is_away(head.own)
        yield Finding(head.machine.name, "member", what, remedy)
        return
    if facts.ray is None or facts.ray.nodes is None:
        yield _silent_dashboard(facts)
        return
    yield from _frozen(facts)
    yield from _second_head(facts)
    alive = {(node.labels or {}).get(MACHINE_LABEL, "") for node in facts.ray.nodes if node.state == "ALIVE"}
    for machine in facts.machines:
        if machine.machine.name not in alive and not is_frozen(machine):
            own = [finding for finding in others if finding.machine == machine.machine.name]
            what, remedy = why_missing(facts, machine, own)
            yield Finding(
                machine.machine.name, "member", f"it is missing from the Ray cluster: {what}", remedy
            )


def _second_head(facts: ClusterFacts) -> Iterator[Finding]:
    """For a moment after a cut has healed two are normal; longer than that the one does not see the other's Redis."""
    for machine in facts.answering:
        if machine.own is not None and machine.own.node.process("gcs_server") and machine is not facts.head:
            what = f"it is the head too, beside {facts.head.machine.name}: each serves its own side"
            remedy = (
                "The one of the newer term stays when both reach each other's Redis (port 6380); if that takes longer "
                "than half a minute: `zejzl node state` on both."
            )
            yield Finding(machine.machine.name, "member", what, remedy)


def _frozen(facts: ClusterFacts) -> Iterator[Finding]:
    for machine in facts.answering:
        raylet = machine.own.node.process("raylet") if machine.own is not None else None
        if raylet is not None and is_frozen(machine):
            what = (
                f"its raylet is frozen (process {raylet.pid} is stopped), so the head gives it up in seconds"
            )
            remedy = f"Run there: kill -CONT {raylet.pid}; if it does not come back by itself, `ray up`."
            yield Finding(machine.machine.name, "member", what, remedy)


def is_frozen(machine: MachineFacts) -> bool:
    """Return whether the raylet of a machine is there, but stopped where it stands."""
    raylet = machine.own.node.process("raylet") if machine.own is not None else None
    return raylet is not None and raylet.state in ("T", "t")


def _silent_dashboard(facts: ClusterFacts) -> Finding:
    name = facts.head.machine.name
    why = (
        facts.head.unanswered.get("ray") or (facts.ray.error if facts.ray is not None else "") or "no answer"
    )
    if facts.ray is not None and facts.ray.is_token_refused:
        what = "Ray's dashboard refuses the Ray token of this machine: it is another one than at the start"
        return Finding(name, "member", what, "Put the former token back, or `ray down` and `ray up`.")
    what = f"Ray's dashboard does not say which machines are there: {why}"
    return Finding(name, "member", what, "Look at dashboard.log among Ray's logs of the head; then `ray up`.")
