"""Finding the rules and running them, the installed ones with a guard around each."""

from collections.abc import Iterable
from importlib.metadata import EntryPoint, entry_points
from typing import Final

from zejzl_ray.fleet.drafts import FleetContext
from zejzl_ray.fleet.finding import Finding, Place, error
from zejzl_ray.fleet.validators.agent_hosts import AgentHosts
from zejzl_ray.fleet.validators.aliases import AliasClashes
from zejzl_ray.fleet.validators.compose_groups import ComposeGroupMembers
from zejzl_ray.fleet.validators.config_ports import ConfigPortClashes
from zejzl_ray.fleet.validators.cycles import DependencyCycles
from zejzl_ray.fleet.validators.dependencies import UnknownDependencies
from zejzl_ray.fleet.validators.duplicates import DuplicateAgents
from zejzl_ray.fleet.validators.health_ports import HealthPorts
from zejzl_ray.fleet.validators.machines import UnknownMachines
from zejzl_ray.fleet.validators.port_clashes import PortClashes
from zejzl_ray.fleet.validators.protocol import GROUP, Validator
from zejzl_ray.fleet.validators.secret_values import SecretValues
from zejzl_ray.fleet.validators.single_machine import SingleMachineClashes
from zejzl_ray.fleet.validators.vram import VramFits

BUILT_IN: Final[tuple[Validator, ...]] = (
    DuplicateAgents(),
    PortClashes(),
    ConfigPortClashes(),
    SingleMachineClashes(),
    HealthPorts(),
    UnknownDependencies(),
    DependencyCycles(),
    UnknownMachines(),
    AgentHosts(),
    AliasClashes(),
    ComposeGroupMembers(),
    VramFits(),
    SecretValues(),
)


def all_validators(
    points: Iterable[EntryPoint] | None = None,
) -> tuple[tuple[Validator, ...], tuple[Finding, ...]]:
    """Return the built-in rules and the installed ones, and a finding for each that cannot be loaded.

    ``points`` replaces the entry points of the environment.
    """
    found: list[Validator] = []
    broken: list[Finding] = []
    for point in entry_points(group=GROUP) if points is None else points:
        try:
            loaded = point.load()
            rule = loaded() if isinstance(loaded, type) else loaded
        except Exception as problem:  # an import can fail in every way there is
            broken.append(_failed(point.name, f"cannot be loaded from {point.value}: {_said(problem)}"))
            continue
        if isinstance(rule, Validator):
            found.append(rule)
        else:
            broken.append(_failed(point.name, f"from {point.value} has no name and check(context)"))
    return (*BUILT_IN, *found), tuple(broken)


def run_validators(validators: Iterable[Validator], context: FleetContext) -> list[Finding]:
    """Return the findings of all rules; a rule that raises gives one finding, and its others are lost."""
    findings: list[Finding] = []
    for validator in validators:
        try:
            found = list(validator.check(context))
        except Exception as problem:  # somebody else's code
            findings.append(_failed(validator.name, f"raised {_said(problem)}"))
            continue
        if all(isinstance(finding, Finding) for finding in found):
            findings += found
        else:
            findings.append(_failed(validator.name, "returned something that is not a finding"))
    return findings


def _said(problem: Exception) -> str:
    text = " ".join(str(problem).split())
    return f"{type(problem).__name__}: {text[:200]}" if text else type(problem).__name__


def _failed(name: str, message: str) -> Finding:
    return error(
        "validator-failed",
        f"the rule {name} {message}, so the fleet is not checked by it",
        Place(""),
        subject=name,
        remedy="Repair the package that brings it, or uninstall it.",
    )
