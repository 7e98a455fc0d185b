from zejzl_ray.bus import went_back
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.link_queue import Encoded
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.ports import Refused
from zejzl_ray.bus.went_back import WentBack


def mail(*ids: str, size: int = 10) -> list[Encoded]:
    return [(Message("a", "b", "t", {}, id=each), b"x" * size) for each in ids]


def ids(messages: list[Message]) -> list[str]:
    return [message.id for message in messages]


def test_what_is_refused_is_returned_once() -> None:
    went = WentBack()
    went.add(1, mail("m1", "m2"))
    refused = Refused("m2", DeadLetterReason.EXPIRED)
    found = went.refused([refused, Refused("other", DeadLetterReason.EXPIRED)])
    assert [(each[0].id, why) for each, why in found] == [("m2", refused)]
    assert went.refused([refused]) == []
    assert len(went) == 1


def test_what_was_in_lost_answers_is_returned_in_its_order() -> None:
    went = WentBack()
    went.add(1, mail("m1"))
    went.add(2, mail("m2", "m3"))
    went.add(3, mail("m4"))
    assert ids(went.unanswered((3, 2, 99))) == ["m2", "m3", "m4"]
    assert ids(went.unanswered((1, 2, 3))) == ["m1"]


def test_what_was_in_answers_that_have_arrived_is_forgotten() -> None:
    went = WentBack()
    went.add(2, mail("m2"))  # two calls may overlap
    went.add(1, mail("m1"))
    went.add(4, mail("m4"))
    assert ids(went.arrived(1)) == ["m1"]
    assert ids(went.arrived(3)) == ["m2"]
    assert ids(went.arrived(3)) == []
    assert ids(went.clear()) == ["m4"]
    assert len(went) == 0


def test_it_is_bounded_in_number_and_in_bytes() -> None:
    went = WentBack()
    went.add(1, mail(*(f"m{each}" for each in range(went_back._MOST + 5))))
    assert len(went) == went_back._MOST
    went.add(2, mail("large", size=went_back._MOST_BYTES))
    assert len(went) == 1
    went.add(3, mail("larger", size=went_back._MOST_BYTES + 1))
    assert len(went) == 0
    went.add(4, mail("m1"))
    assert ids(went.clear()) == ["m1"]


def test_a_message_that_goes_back_again_counts_once() -> None:
    went = WentBack()
    went.add(1, mail("m1", size=went_back._MOST_BYTES))
    went.add(2, mail("m1", size=went_back._MOST_BYTES))
    assert ids(went.arrived(1)) == []
    assert ids(went.arrived(2)) == ["m1"]
