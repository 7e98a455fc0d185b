from zejzl_ray.bus.away_mail import AwayMail
from zejzl_ray.bus.calls import Calls
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.local_mail import LocalMail
from zejzl_ray.bus.options import BusOptions
from zejzl_ray.bus.ports import Delivered, Outgoing, Refused, Speakers
from zejzl_ray.errors import DeadlineExceeded
from zejzl_ray.testing import ManualClock


class Line:
    """A ``Transport`` that answers or not."""

    def __init__(self) -> None:
        self.is_cut = False

    async def deliver(self, host: str, outgoing: Outgoing) -> Delivered:
        if self.is_cut:
            raise DeadlineExceeded("late")
        return Delivered(boot="b")

    def speakers(self, host: str) -> Speakers:
        raise AssertionError

    def watch(self, host: str) -> None: ...


def calls() -> Calls:
    local = LocalMail(ManualClock(), BusOptions(), "a")
    return Calls("b", AwayMail(local, None), local, on_gone=lambda why: None)


def begin(made: Calls) -> Outgoing:
    return made.begin(0, (), wants_reply=False)


def test_calls_that_ended_are_told_up_to_the_first_that_is_under_way() -> None:
    made = calls()
    first, second = begin(made), begin(made)
    assert (first.ended, second.ended) == (0, 0)
    made.end(second)
    assert begin(made).ended == 0
    made.end(first)
    assert begin(made).ended == 2


async def test_a_call_whose_failure_is_only_told_on_its_way_is_not_said_to_have_ended() -> None:
    made, line = calls(), Line()
    first = begin(made)
    line.is_cut = True
    await made.deliver(line, first, ())
    made.end(first)
    second = begin(made)
    assert second.unanswered == (1,)
    third = begin(made)  # it may be there before the second, or the second never
    assert (third.unanswered, third.ended) == ((), 0)
    await made.deliver(line, second, ())
    made.end(second)
    fourth = begin(made)
    assert fourth.unanswered == (1, 2)
    line.is_cut = False
    await made.deliver(line, third, ())
    await made.deliver(line, fourth, ())
    made.end(third)
    made.end(fourth)
    assert begin(made).ended == 4


async def test_the_same_holds_for_what_was_not_taken_of_an_answer() -> None:
    made, line = calls(), Line()
    first = begin(made)
    await made.deliver(line, first, ())
    made.say([Refused("m1", DeadLetterReason.EXPIRED)])
    made.end(first)
    second = begin(made)
    assert [each.message_id for each in second.returned] == ["m1"]
    assert begin(made).ended == 0
