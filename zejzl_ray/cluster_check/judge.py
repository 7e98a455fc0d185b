"""All checks in turn over the facts of a cluster: what is not well, and what could not be looked at."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import Final

from zejzl_ray.cluster_check.checks.certificates import check_certificates, check_tls_setting
from zejzl_ray.cluster_check.checks.clock import check_clocks
from zejzl_ray.cluster_check.checks.disk import check_disks
from zejzl_ray.cluster_check.checks.gpu import check_gpus
from zejzl_ray.cluster_check.checks.members import check_members
from zejzl_ray.cluster_check.checks.mounts import MOUNT, check_mounts
from zejzl_ray.cluster_check.checks.ports import check_free_ports, check_links
from zejzl_ray.cluster_check.checks.programs import check_rsync, check_versions
from zejzl_ray.cluster_check.checks.reach import SAME_ADDRESS, check_addresses, check_ssh
from zejzl_ray.cluster_check.checks.redis import check_redis, check_store
from zejzl_ray.cluster_check.checks.release import check_release
from zejzl_ray.cluster_check.checks.secrets import check_secrets
from zejzl_ray.cluster_check.checks.services import check_services
from zejzl_ray.cluster_check.checks.settings import check_settings
from zejzl_ray.cluster_check.facts import ClusterFacts, Phase
from zejzl_ray.cluster_check.finding import Finding


@dataclass(frozen=True, slots=True)
class Check:
    """One check: a name to list, and the function that judges."""

    name: str
    judge: Callable[[ClusterFacts], Iterable[Finding]]


CHECKS: Final = (
    Check("ssh", check_ssh),
    Check("addresses", check_addresses),
    Check("rsync", check_rsync),
    Check("versions", check_versions),
    Check("release", check_release),
    Check("clocks", check_clocks),
    Check("disks", check_disks),
    Check("cards", check_gpus),
    Check("free ports", check_free_ports),
    Check("ports between machines", check_links),
    Check("settings", check_settings),
    Check("files to copy", check_mounts),
    Check("secrets", check_secrets),
    Check("TLS setting", check_tls_setting),
    Check("certificates", check_certificates),
    Check("store", check_store),
    Check("Redis", check_redis),
)
_AFTER: Final = ("members", "services")


@dataclass(frozen=True, slots=True)
class Unknown:
    """What could not be looked at, although it should have been."""

    machine: str
    question: str
    why: str


@dataclass(frozen=True, slots=True)
class Judgement:
    """The outcome: all is well only when nothing was found and nothing stayed unknown."""

    phase: Phase
    checks: tuple[str, ...]
    findings: tuple[Finding, ...]
    unknown: tuple[Unknown, ...]

    @property
    def is_well(self) -> bool:
        """Whether the cluster can be started, or works."""
        return not self.findings and not self.unknown


def judge(facts: ClusterFacts) -> Judgement:
    """Return what is not well; asks nothing, so that the same facts always give the same answer."""
    findings = [finding for check in CHECKS for finding in check.judge(facts)]
    if facts.phase is Phase.AFTER:
        findings += check_members(facts, tuple(findings))
        if not _is_store_frozen(facts):
            findings += check_services(facts)
    findings = list(_causes(facts, findings))
    order = {machine.machine.name: index for index, machine in enumerate(facts.machines)}
    findings.sort(key=lambda finding: order.get(finding.machine, len(order)))
    names = tuple(check.name for check in CHECKS) + (_AFTER if facts.phase is Phase.AFTER else ())
    return Judgement(facts.phase, names, tuple(dict.fromkeys(findings)), _unknown(facts))


def _is_store_frozen(facts: ClusterFacts) -> bool:
    store = facts.head.own.node.process("gcs_server") if facts.head.own is not None else None
    return store is not None and store.is_frozen


def _causes(facts: ClusterFacts, findings: Iterable[Finding]) -> Iterable[Finding]:
    """Leave out what only follows from something else that was found: one cause, one finding."""
    found = tuple(findings)
    twins = {finding.machine for finding in found if finding.check == SAME_ADDRESS}
    for finding in found:
        if finding.machine in twins and finding.check != SAME_ADDRESS:
            continue  # what was seen there is another machine
        if finding.check == MOUNT and _is_said(finding, found):
            continue
        if finding.check == "redis" and _is_explained(facts, finding, found):
            continue
        yield finding


def _is_said(finding: Finding, found: tuple[Finding, ...]) -> bool:
    """A secret that is missing on the machine that asks is named as such."""
    path = finding.what.partition(",")[0]
    return any(
        other.check == "secret" and other.machine == finding.machine and path in other.what for other in found
    )


def _is_explained(facts: ClusterFacts, finding: Finding, found: tuple[Finding, ...]) -> bool:
    """Redis refuses a machine whose own certificate or password is wrong; that is named already."""
    machine = facts.named(finding.machine)
    state = machine.redis.state if machine is not None and machine.redis is not None else ""
    others = [other for other in found if other.machine == finding.machine]
    if state == "tls":
        return any(other.check == "tls" for other in others)
    return state == "password" and any(
        other.check == "secret" and "Redis password" in other.what for other in others
    )


def _unknown(facts: ClusterFacts) -> tuple[Unknown, ...]:
    return tuple(
        Unknown(machine.machine.name, question, why)
        for machine in facts.machines
        for question, why in machine.unanswered.items()
    )
