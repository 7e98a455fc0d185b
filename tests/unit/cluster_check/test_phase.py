"""Whether a cluster has been started is read from what its machines wrote down."""

import pytest

from tests.unit.cluster_check.healthy import healthy, own_facts, with_own
from zejzl_ray.cluster_check.facts import Phase
from zejzl_ray.cluster_check.phase import phase_of


@pytest.mark.parametrize(
    ("state", "phase"),
    [
        ("up", Phase.AFTER),
        ("failed", Phase.AFTER),
        ("starting", Phase.AFTER),
        ("stopped", Phase.BEFORE),
        ("", Phase.BEFORE),
    ],
)
def test_a_node_that_was_started_and_not_stopped_means_after(state: str, phase: Phase) -> None:
    node = own_facts("pc2").node.model_copy(update={"record": {"state": state}, "processes": ()})

    assert phase_of(with_own(healthy(Phase.BEFORE), "pc2", node=node).machines) is phase


def test_a_node_that_runs_means_after() -> None:
    assert phase_of(healthy().machines) is Phase.AFTER
    assert phase_of(()) is Phase.BEFORE
