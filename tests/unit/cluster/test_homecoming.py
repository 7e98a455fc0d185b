"""Who goes home, and when."""

from zejzl_ray.cluster.homecoming import Homecoming

HOMES = {"gateway": "pc2", "orchestrator": "mainpc", "hub": "pc2"}
AWAY = {"gateway": "mainpc", "orchestrator": "mainpc", "hub": "mainpc"}
BOTH = ("mainpc", "pc2")


def test_nobody_moves_when_everybody_is_at_home() -> None:
    homecoming = Homecoming(HOMES, 60)

    assert homecoming.next(0.0, HOMES, BOTH) is None
    assert homecoming.next(1000.0, HOMES, BOTH) is None


def test_a_service_goes_home_when_that_was_healthy_for_long_enough() -> None:
    homecoming = Homecoming(HOMES, 60)
    assert homecoming.next(0.0, AWAY, ("mainpc",)) is None

    assert homecoming.next(100.0, AWAY, BOTH) is None
    assert homecoming.next(159.9, AWAY, BOTH) is None
    assert homecoming.next(160.0, AWAY, BOTH) == "gateway"


def test_a_home_that_flickers_begins_to_count_anew() -> None:
    homecoming = Homecoming(HOMES, 60)
    homecoming.next(0.0, AWAY, BOTH)
    homecoming.next(50.0, AWAY, ("mainpc",))
    homecoming.next(52.0, AWAY, BOTH)

    assert homecoming.next(100.0, AWAY, BOTH) is None
    assert homecoming.next(112.0, AWAY, BOTH) == "gateway"


def test_they_go_one_at_a_time_and_nobody_while_one_is_not_ready() -> None:
    homecoming = Homecoming(HOMES, 60)
    homecoming.next(0.0, AWAY, BOTH)
    assert homecoming.next(60.0, AWAY, BOTH) == "gateway"

    assert homecoming.next(62.0, {"orchestrator": "mainpc", "hub": "mainpc"}, BOTH) is None
    assert homecoming.next(70.0, AWAY | {"gateway": "pc2"}, BOTH) == "hub"
    assert homecoming.next(80.0, HOMES, BOTH) is None


def test_one_that_comes_up_elsewhere_again_is_tried_a_minute_later_and_holds_nobody_up() -> None:
    homecoming = Homecoming(HOMES, 60)
    homecoming.next(0.0, AWAY, BOTH)
    assert homecoming.next(60.0, AWAY, BOTH) == "gateway"

    assert homecoming.next(70.0, AWAY, BOTH) == "hub"
    assert homecoming.next(72.0, AWAY, BOTH) is None
    assert homecoming.next(120.0, AWAY, BOTH) == "gateway"
