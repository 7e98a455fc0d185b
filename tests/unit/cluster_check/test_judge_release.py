"""Judging the release: what each machine has installed, and what it has to be brought."""

from pathlib import Path

import pytest

from tests.unit.cluster_check.healthy import (
    healthy,
    own_facts,
    with_machine,
    with_own,
)
from tests.unit.cluster_check.verdicts import the_one
from zejzl_ray.cluster_check.facts import (
    ClusterFacts,
    Command,
    Phase,
    Programs,
    RedisAnswer,
    ReleaseHere,
)
from zejzl_ray.cluster_check.finding import HERE
from zejzl_ray.cluster_check.judge import judge
from zejzl_ray.cluster_file.model import CarriedRelease


def _with_release(phase: Phase, *, here: ReleaseHere | None = None, **releases: str | None) -> ClusterFacts:
    """Return the facts of a cluster whose file carries a release; None: none is installed on that machine."""
    facts = healthy(phase)
    carried = CarriedRelease(here=Path("/r"), there="~/.local/share/zejzl/release")
    facts = facts.model_copy(update={
        "cluster": facts.cluster.model_copy(update={"carried_release": carried}),
        "here": facts.here.model_copy(update={"release": here or ReleaseHere(id="1-a", python="3.11")}),
    })  # fmt: skip
    for name in ("mainpc", "pc2"):
        facts = with_own(facts, name, release=releases.get(name, "1-a"))
    return facts


@pytest.mark.parametrize("phase", list(Phase))
def test_machines_that_have_the_release_are_well(phase: Phase) -> None:
    assert judge(_with_release(phase)).is_well


def test_before_the_start_a_machine_may_lack_everything_that_the_release_brings() -> None:
    facts = _with_release(Phase.BEFORE, pc2=None)

    facts = with_own(facts, "pc2", programs=Programs(rsync="/usr/bin/rsync"))
    assert judge(with_machine(facts, "pc2", redis=RedisAnswer(state="no client"))).is_well


@pytest.mark.parametrize(
    ("facts", "machine", "what", "remedy"),
    [
        (
            _with_release(Phase.BEFORE, here=ReleaseHere(fault="there is no release to carry in /r")),
            HERE, "no release to carry", "zejzl release build",
        ),
        (_with_release(Phase.AFTER, pc2="1-b"), "pc2", "its release is 1-b, and 1-a on mainpc", "ray up"),
        (
            with_own(_with_release(Phase.AFTER, pc2=None), "pc2", programs=Programs(rsync="/usr/bin/rsync")),
            "pc2", "no release is installed", "zejzl release send",
        ),
        (
            with_own(_with_release(Phase.AFTER), "pc2", programs=own_facts("pc2").programs.model_copy(
                update={"ray": Command()}
            )),
            "pc2", "no command ray", "Its release is damaged",
        ),
    ],
)  # fmt: skip
def test_a_release_that_is_not_as_it_should_be_is_named(
    facts: ClusterFacts, machine: str, what: str, remedy: str
) -> None:
    finding = the_one(facts)

    assert finding.machine == machine
    assert what in finding.what
    assert remedy in finding.remedy


def test_a_machine_with_another_python_than_the_release_is_for_is_named() -> None:
    facts = with_own(_with_release(Phase.BEFORE, pc2=None), "pc2", python="3.10.2")

    found = {finding.check: finding for finding in judge(facts).findings}

    assert "python3 is 3.10 here, and the release is for 3.11" in found["release"].what
    assert found["release"].machine == "pc2"
