"""Why a machine is not in the Ray cluster, in words: from its record, processes, logs, and what else is wrong."""

import re
from collections.abc import Sequence
from typing import Final

from zejzl_ray.cluster_check.facts import ClusterFacts, MachineFacts, NodeFacts, OwnFacts
from zejzl_ray.cluster_check.finding import Finding
from zejzl_ray.log import redact

Why = tuple[str, str]
"""What keeps it away, as the end of a sentence, and the remedy."""

_LOGS: Final = ("node.log", "ray_start.log", "raylet.err", "raylet.out", "gcs_server.out")
_AGAIN: Final = "`ray up` starts it again; node.log and ray_start.log in its data directory say more."
_TOKEN: Final = "the head refuses its Ray token"  # noqa: S105  no secret
# Pattern in the logs -> what it means, and the remedy; the first that fits.
_SIGNS: Final = (
    (
        r"InvalidAuthToken|AuthenticationError|Unauthenticated|WrongClusterToken",
        f"{_TOKEN}: the token differs",
        "Copy ray_token from the head, mode 0600 (`ray up` does it), then `ray up`.",
    ),
    (
        r"[Vv]ersion mismatch",
        "it has another version of Ray or Python than the head",
        "Install the head's versions there, then `ray up`.",
    ),
    (
        r"CERTIFICATE_VERIFY_FAILED|[Hh]andshake failed|SSL_ERROR|no certificate of",
        "the head and it do not accept each other's certificates",
        "Compare `zejzl tls show` on both; `zejzl tls issue NAME ... --force` makes one of the head's authority.",
    ),
    (
        r"No space left on device|out of disk space",
        "its disk is full",
        "Free some space there, then `ray up`.",
    ),
    (
        r"marked (?:this node )?(?:as )?dead|marked as dead|Exiting because this node manager has mistakenly been",
        "the head took it for dead, since it was silent for too long (frozen or cut off), and so it ended itself",
        _AGAIN,
    ),
    (
        r"Address already in use",
        "a port that it needs is taken",
        "End the program that has it (`ss -ltnp`), then `ray up`.",
    ),
)  # fmt: skip
_CAUSES: Final = ("secret", "tls", "version", "port", "disk", "address", "gpu")


def why_missing(facts: ClusterFacts, machine: MachineFacts, findings: Sequence[Finding]) -> Why:
    """Return why a declared machine is not a live node.

    Args:
        facts: of the cluster; its head runs.
        machine: which one.
        findings: what else is wrong with it.
    """
    if machine.own is None:
        fault = machine.ssh_fault
        if fault is None:
            return "it could not be asked", "Try again."
        return f"it cannot be asked why: {fault.what}", fault.remedy
    node = machine.own.node
    if node.record is None and (lost := _lost_record(node)) is not None:
        return lost
    if node.record is None:
        return _with_cause("it was never started", "`ray up` starts it; monitor.log among Ray's logs of the head says "
                           "what became of that.", findings)  # fmt: skip
    elsewhere = _other_head(facts, node)
    if elsewhere:
        return elsewhere
    if node.state == "stopped":
        return "it was stopped, by `ray down` or `zejzl node stop`", "`ray up` starts it again."
    return _running(node) or _from_logs(facts, machine.own, findings) or _ended(machine.own, findings)


def why_head_is_away(own: OwnFacts) -> Why:
    """Return why the head's control store does not run."""
    node = own.node
    if node.record is None and (lost := _lost_record(node)) is not None:
        return lost
    if node.record is None:
        return "the head was never started", "Run `ray up -y cluster.yaml`."
    if node.state == "stopped":
        return "the head was stopped, by `ray down` or `zejzl node stop`", "Run `ray up -y cluster.yaml`."
    what, remedy = _sign(node) or _ended(own, ())
    return f"Ray's control store does not run here: {what}", remedy


def _lost_record(node: NodeFacts) -> Why | None:
    if node.record_fault:
        what = f"its node.json is damaged ({node.record_fault}), so nobody knows what became of its node"
        return what, "Run there: zejzl node stop; then `ray up`."
    if node.is_wanted:
        return "its node was started, but node.json is gone, and so is the node", _AGAIN
    if node.is_wanted is False:
        return "it was stopped, by `ray down` or `zejzl node stop`", "`ray up` starts it again."
    return None


def _with_cause(what: str, remedy: str, findings: Sequence[Finding]) -> Why:
    for check in _CAUSES:
        cause = next((finding for finding in findings if finding.check == check), None)
        if cause is not None:
            return f"{what}; what keeps it from it: {cause.what}", f"{cause.remedy} Then `ray up`."
    return what, remedy


def _other_head(facts: ClusterFacts, node: NodeFacts) -> Why | None:
    plan = (node.record or {}).get("node") or {}
    host = str(plan.get("head_address") or "").rpartition(":")[0]
    known = {facts.head.machine.address, *facts.head.addresses}
    if not host or host in known or node.process("raylet") is None:
        return None
    return (
        f"it belongs to another cluster, whose head is {host}",
        "Run there: zejzl node stop; then `ray up`.",
    )


def _running(node: NodeFacts) -> Why | None:
    if node.process("raylet") is not None and node.state == "up":
        return (
            "its raylet runs, but the head does not count it in: it was cut off, or the head began a new cluster",
            "Wait half a minute; if it does not come back by itself: `zejzl node stop` there, then `ray up`.",
        )
    return None


def _sign(node: NodeFacts) -> Why | None:
    """What the note of the supervisor and the logs say, the note first."""
    for name, text in (("its record", node.note), *((name, node.logs.get(name, "")) for name in _LOGS)):
        for pattern, what, remedy in _SIGNS:
            found = re.search(pattern, text)
            if found is not None:
                return f"{what} ({name} says: {_quote(text, found.start())})", remedy
    return None


def _from_logs(facts: ClusterFacts, own: OwnFacts, findings: Sequence[Finding]) -> Why | None:
    node = own.node
    sign = _sign(node)
    if sign is not None:
        what, remedy = sign
        if what.startswith(_TOKEN) and _has_heads_token(facts, own):
            what = f"the head refused its Ray token when it was started{_ago(node)}; by now it has the head's"
            remedy = "`ray up` starts it again."
        return what, remedy
    text = f"{node.note}\n{node.logs.get('ray_start.log', '')}"
    is_waiting = re.search(
        r"Failed to connect to GCS|did not start on \S+ within|Timed out while waiting for GCS", text
    )
    if is_waiting is None:
        return None
    if _speaks_tls(node) is not _speaks_tls(facts.head.own.node if facts.head.own is not None else None):
        side, other = ("off", "on") if not _speaks_tls(node) else ("on", "off")
        return (
            f"it was started with TLS {side}, the head with TLS {other}",
            "Set ZEJZL_RAY_TLS the same on both, then `ray up`.",
        )
    what = "it found no way to the head's control store when it was started"
    return _with_cause(what, _AGAIN, findings)


def _speaks_tls(node: NodeFacts | None) -> bool:
    return bool(((node.record or {}).get("node") or {}).get("tls")) if node is not None else False


def _ended(own: OwnFacts, findings: Sequence[Finding]) -> Why:
    node = own.node
    if node.state == "starting" and node.is_supervised:
        return _with_cause("it is still starting", "Wait; its ray_start.log says how far it is.", findings)
    killed = re.search(r"(\S+) ended with (-?\d+)", node.note)
    if killed is not None:
        name, status = killed.group(1), int(killed.group(2))
        how = f"was killed (signal {-status})" if status < 0 else f"ended with status {status}"
        memory = " `dmesg` says whether memory ran out." if status == -9 else ""
        return f"its {name} {how}{_ago(node)}", f"{_AGAIN}{memory}"
    if node.state == "failed":
        return _with_cause(f"its start failed{_ago(node)}: {_short(node.note)}", _AGAIN, findings)
    if own.boot_age_s is not None and own.boot_age_s < 3600:
        return (
            f"the machine was restarted {own.boot_age_s / 60:.0f} min ago, and nothing has started Ray since",
            "`ray up` starts it again.",
        )
    return _with_cause(
        "its processes are gone without a word: killed, or the power was cut", _AGAIN, findings
    )


def _has_heads_token(facts: ClusterFacts, own: OwnFacts) -> bool:
    head = facts.head.own
    if head is None:
        return False
    theirs, its = head.secrets.get("ray_token"), own.secrets.get("ray_token")
    return (
        theirs is not None and its is not None and theirs.digest is not None and theirs.digest == its.digest
    )


def _ago(node: NodeFacts) -> str:
    if node.record_age_s is None:
        return ""
    minutes = node.record_age_s / 60
    return f", {minutes:.0f} min ago" if minutes < 120 else f", {minutes / 60:.0f} h ago"


def _quote(text: str, at: int) -> str:
    """The rest of the line, of a long one the first sentence."""
    end = text.find("\n", at)
    line = text[at : end if end >= 0 else len(text)]
    return _short(line.partition(". ")[0].rstrip("."))


def _short(text: str) -> str:
    words = " ".join(redact(text).split())
    return words if len(words) <= 160 else f"{words[:157]}..."
