"""What the judge says of a cluster, in the shapes that tests compare."""

from collections.abc import Callable

import pytest

from zejzl_ray.cluster_check.facts import (
    ClusterFacts,
    Phase,
)
from zejzl_ray.cluster_check.finding import Finding
from zejzl_ray.cluster_check.judge import judge

Spoil = Callable[[ClusterFacts], ClusterFacts]


BOTH = pytest.mark.parametrize("phase", [Phase.BEFORE, Phase.AFTER])


def found(facts: ClusterFacts) -> list[tuple[str, str, str]]:
    return [(finding.machine, finding.check, finding.what) for finding in judge(facts).findings]


def the_one(facts: ClusterFacts) -> Finding:
    findings = judge(facts).findings
    assert len(findings) == 1, findings
    return findings[0]
