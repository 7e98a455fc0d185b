"""After the start: every declared machine is a live node of the Ray cluster, or it is said why not."""

from collections.abc import Collection, Iterator, Sequence

from zejzl_ray.cluster.names import MACHINE_LABEL
from zejzl_ray.cluster_check.checks.why_missing import why_head_is_away, why_missing
from zejzl_ray.cluster_check.facts import ClusterFacts, MachineFacts, Phase, RayNode
from zejzl_ray.cluster_check.finding import Finding


def check_members(facts: ClusterFacts, others: Sequence[Finding]) -> Iterator[Finding]:
    """Name each machine that is missing from the Ray cluster, and the cause.

    Args:
        facts: of the cluster.
        others: what the other checks have found; one of those may be the cause.
    """
    if facts.phase is Phase.BEFORE:
        return
    yield from _without_record(facts)
    yield from _frozen(facts)
    missing = tuple(_missing(facts, others))
    yield from missing
    yield from _unsupervised(facts, {finding.machine for finding in missing})


def _missing(facts: ClusterFacts, others: Sequence[Finding]) -> Iterator[Finding]:
    head = facts.head
    if head.own is None or "node" in head.own.failed:
        return  # what keeps us from asking is said already
    store = head.own.node.process("gcs_server")
    if store is None:
        what, remedy = why_head_is_away(head.own)
        yield Finding(head.machine.name, "member", what, remedy)
        return
    if store.is_frozen:
        return  # nobody can ask it who is there
    if facts.ray is None or facts.ray.nodes is None:
        yield _silent_dashboard(facts)
        return
    yield from _second_head(facts)
    yield from _strangers(facts, facts.ray.nodes)
    alive = {(node.labels or {}).get(MACHINE_LABEL, "") for node in facts.ray.nodes if node.state == "ALIVE"}
    for machine in facts.machines:
        if machine.own is not None and "node" in machine.own.failed:
            continue
        if machine.machine.name not in alive and not is_frozen(machine):
            own = [finding for finding in others if finding.machine == machine.machine.name]
            what, remedy = why_missing(facts, machine, own)
            yield Finding(
                machine.machine.name, "member", f"it is missing from the Ray cluster: {what}", remedy
            )


def _without_record(facts: ClusterFacts) -> Iterator[Finding]:
    """Without its record nothing stops a node, or finds out that it is as it should be."""
    for machine, own in facts.knowing("node"):
        node = own.node
        if node.record is None and node.processes:
            fault = (
                f"node.json is damaged ({node.record_fault})" if node.record_fault else "node.json is missing"
            )
            what = f"its node runs, but {fault}, so no start and no stop knows the node"
            yield Finding(
                machine.machine.name, "member", what, "Run there: zejzl node stop; then `ray up` here."
            )


def _unsupervised(facts: ClusterFacts, named: Collection[str]) -> Iterator[Finding]:
    """A node outlives its supervisor; whatever dies next would stay dead."""
    for machine, own in facts.knowing("node"):
        raylet = own.node.process("raylet")
        if machine.machine.name in named or raylet is None or raylet.is_frozen:
            continue
        frozen = own.node.frozen_supervisor
        if frozen is not None:
            what = (
                f"the supervisor of its node is frozen (process {frozen} is stopped), so what dies stays dead"
            )
            yield Finding(machine.machine.name, "member", what, f"Run there: kill -CONT {frozen}.")
        if own.node.record is not None and own.node.is_supervised is False:
            what = "the supervisor of its node does not run, so nothing starts again what dies next"
            yield Finding(
                machine.machine.name, "member", what, "Run there: zejzl node stop; then `ray up` here."
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
    for machine, own in facts.knowing("node"):
        for process in own.node.processes:
            if not process.is_frozen:
                continue
            if process.name == "raylet":
                what = f"its raylet is frozen (process {process.pid} is stopped), so the head gives it up in seconds"
            else:
                what = f"Ray's control store is frozen (process {process.pid} is stopped): nothing can be started"
            remedy = f"Run there: kill -CONT {process.pid}; if it does not come back by itself, `ray up`."
            yield Finding(machine.machine.name, "member", what, remedy)


def is_frozen(machine: MachineFacts) -> bool:
    """Return whether the raylet of a machine is there, but stopped where it stands."""
    raylet = machine.own.node.process("raylet") if machine.own is not None else None
    return raylet is not None and raylet.is_frozen


def _strangers(facts: ClusterFacts, nodes: Sequence[RayNode]) -> Iterator[Finding]:
    """Nodes that the file does not know, or that have the name of a machine and are another one."""
    head = facts.head.machine.name
    for node in nodes:
        if node.state != "ALIVE":
            continue
        name = (node.labels or {}).get(MACHINE_LABEL, "")
        machine = facts.named(name)
        if machine is None:
            who = (
                f"{name}, a node at {node.node_ip}," if name else f"a node without a name, at {node.node_ip},"
            )
            what = f"{who} is in the Ray cluster, but no machine of the file"
            remedy = "Run on that machine: zejzl node stop; or write it into the file."
            yield Finding(head, "member", what, remedy)
        elif machine.own is not None and machine.own.node.record is not None:
            own_ip = machine.own.node.record["node"].get("node_ip")
            if own_ip and node.node_ip and own_ip != node.node_ip:
                what = f"the node at {node.node_ip} says that it is {name}, which is at {own_ip}"
                yield Finding(head, "member", what, f"Run at {node.node_ip}: zejzl node stop.")


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
