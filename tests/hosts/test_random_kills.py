"""The short form of ``make chaos``: a minute of random faults, while clients of both hosts write."""

import random
import sys

import pytest

from tests.hosts.chaos import chaos
from tests.hosts.stage import Stage

SECONDS = 60.0
LEAST = 3

pytestmark = pytest.mark.timeout(420)


def test_random_kills_lose_no_acknowledged_write_and_give_no_name_two_owners(
    stage: Stage, capsys: pytest.CaptureFixture[str]
) -> None:
    seed = random.SystemRandom().randrange(1_000_000)

    def tell(line: str) -> None:
        with capsys.disabled():
            sys.stdout.write(f"\n  {line}")

    tell(f"seed {seed}")
    done = chaos(stage.cluster, SECONDS, seed, tell, least=LEAST)

    verdict = done.verdict
    told = f"{verdict.acknowledged} acknowledged, {verdict.grants} grants, {dict(verdict.errors)}"
    tell(f"{told}, served {done.served_ratio:.1%}, without service {done.without_service()}")
    assert verdict.faults == ()
    assert verdict.acknowledged > 100
    assert len(done.faults) >= LEAST
