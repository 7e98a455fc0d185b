from collections.abc import Iterable
from importlib.metadata import EntryPoint
from pathlib import Path

from zejzl_ray.fleet import validators
from zejzl_ray.fleet.drafts import FleetContext
from zejzl_ray.fleet.finding import Finding, Place, warning
from zejzl_ray.fleet.load import load_fleet
from zejzl_ray.fleet.model import Fleet
from zejzl_ray.fleet.validators import BUILT_IN, all_validators, run_validators

EMPTY = FleetContext(Fleet(), ())


class NeedsGroups:
    name = "needs-groups"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        return [warning("no-group", f"{draft.name} has no group", draft.place) for draft in context.agents]


class Breaks:
    name = "breaks"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        raise RuntimeError("out of\norder")


class Empty:
    name = "empty"

    def check(self, context: FleetContext) -> Iterable[Finding]:
        raise KeyError


class Talks:
    name = "talks"

    def check(self, context: FleetContext) -> list[Finding]:
        return ["not a finding"]  # type: ignore[list-item]  # a rule that breaks its promise


class NoRule:
    """Has neither a name nor a check."""


class RaisesOnLoad:
    def __init__(self) -> None:
        raise RuntimeError("cannot")


RULE = NeedsGroups()


def point(name: str) -> EntryPoint:
    return EntryPoint(name, f"{__name__}:{name}", validators.GROUP)


def test_an_installed_rule_is_found_as_class_or_object() -> None:
    rules, broken = all_validators([point("NeedsGroups"), point("RULE")])
    assert broken == ()
    assert [rule.name for rule in rules[len(BUILT_IN) :]] == ["needs-groups", "needs-groups"]


def test_a_rule_that_cannot_be_loaded_is_one_finding() -> None:
    rules, broken = all_validators(
        [EntryPoint("gone", "no.such.module:X", validators.GROUP), point("RaisesOnLoad"), point("NoRule")]
    )
    assert rules == BUILT_IN
    assert [(finding.code, finding.subject) for finding in broken] == [
        ("validator-failed", "gone"),
        ("validator-failed", "RaisesOnLoad"),
        ("validator-failed", "NoRule"),
    ]


def test_a_rule_that_fails_is_one_finding_and_the_others_still_run(tmp_path: Path) -> None:
    path = tmp_path / "f.yaml"
    path.write_text("agent_groups: {g: {A: {script_path: a.py, port: 5001}}}")
    loaded = load_fleet([path], validators=[Breaks(), Talks(), Empty(), NeedsGroups()])
    assert sorted((finding.code, finding.subject) for finding in loaded.findings) == [
        ("no-group", ""),
        ("validator-failed", "breaks"),
        ("validator-failed", "empty"),
        ("validator-failed", "talks"),
    ]
    assert "RuntimeError: out of order" in str(loaded.findings[0])


def test_the_built_in_rules_have_names_of_their_own() -> None:
    names = [rule.name for rule in BUILT_IN]
    assert len(set(names)) == len(names)
    assert run_validators(BUILT_IN, EMPTY) == []


def test_a_finding_is_one_line() -> None:
    finding = warning("x", "something is odd.", Place("f.yaml", 3, 4), remedy="Look.")
    assert str(finding) == "f.yaml:3:4: warning: something is odd. Look."
    assert finding.place == Place("f.yaml", 3, 4)
    assert str(warning("x", "odd", Place("f.yaml"))) == "f.yaml: warning: odd"
