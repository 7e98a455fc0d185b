import pytest

from tests.unit.bus.durable_bench import mail, numbers
from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.unacknowledged import AckOptions, DueAgain, Unacknowledged
from zejzl_ray.errors import InvalidInput

H = "h1~abc"
OPTIONS = AckOptions(ack_timeout_s=30, first_delay_s=1, max_delay_s=4, max_deliveries=3)
NOTHING = DueAgain([], [])


def numbered(sequence: int) -> Message:
    return mail(sequence, sequence=sequence)


def handed_out(*sequences: int) -> Unacknowledged:
    out = Unacknowledged(OPTIONS, roll=lambda: 0.5)
    for sequence in sequences:
        out.handed_out(H, numbered(sequence), 0)
    return out


def idle(origin: str, sequence: int) -> bool:
    return False


def busy(origin: str, sequence: int) -> bool:
    return True


def test_what_is_acknowledged_never_comes_again() -> None:
    out = handed_out(1)
    assert out.next_at_s() == 30
    assert out.acknowledged(H, 1)
    assert not out.acknowledged(H, 1)
    assert out.due(100, idle) == NOTHING
    assert out.next_at_s() is None


def test_a_message_whose_handler_runs_never_comes_again_however_long_it_takes() -> None:
    out = handed_out(1)
    for now_s in range(0, 10_000, 7):
        assert out.due(now_s, busy) == NOTHING
    assert len(out) == 1


def test_a_message_that_its_handler_forgot_comes_again_after_the_time_limit() -> None:
    out = handed_out(1, 2)
    assert out.due(29, idle) == NOTHING
    assert numbers(out.due(30, lambda origin, sequence: sequence == 2).again) == [1]
    assert out.due(31, idle) == NOTHING  # it waits in the mailbox; nobody took it yet
    assert len(out) == 2


def test_what_was_given_back_comes_again_after_waits_that_grow_and_is_given_up_in_the_end() -> None:
    out = handed_out(1)
    assert out.nacked(H, 1, "first", 0)
    assert out.due(0.9, idle) == NOTHING
    assert numbers(out.due(1, idle).again) == [1]
    out.handed_out(H, numbered(1), 1)
    out.nacked(H, 1, "second", 1)
    assert out.due(2.9, idle) == NOTHING
    assert numbers(out.due(3, busy).again) == [1]  # given back: it does not matter what runs
    out.handed_out(H, numbered(1), 3)
    out.nacked(H, 1, "third", 3)
    due = out.due(7, idle)
    assert due.again == []
    assert [(message.sequence, why, words) for message, why, words in due.given_up] == [
        (1, DeadLetterReason.NOT_ACKNOWLEDGED, "third")
    ]
    assert len(out) == 0
    assert not out.nacked(H, 1, "late", 8)


def test_a_message_that_is_forgotten_again_and_again_is_given_up_too() -> None:
    out = handed_out(1)
    for now_s in (30, 60):
        assert numbers(out.due(now_s, idle).again) == [1]
        out.handed_out(H, numbered(1), now_s)
    assert out.due(90, idle).given_up[0][2] == "its handler neither finished nor gave it back"


def test_messages_of_two_outboxes_with_the_same_sequence_are_two() -> None:
    out = handed_out(1)
    out.handed_out("h2~abc", numbered(1), 10)
    assert out.acknowledged(H, 1)
    assert numbers(out.due(40, idle).again) == [1]


def test_a_closed_mailbox_leaves_everything_to_the_senders() -> None:
    out = handed_out(1, 2)
    assert out.clear() == [(H, 1), (H, 2)]
    assert out.due(1000, idle) == NOTHING


@pytest.mark.parametrize(
    "wrong", [{"ack_timeout_s": 0}, {"jitter_ratio": 1.5}, {"max_deliveries": 0}, {"max_delay_s": -1}]
)
def test_options_that_would_hand_out_without_end_are_refused(wrong: dict[str, float]) -> None:
    with pytest.raises(InvalidInput, match="cannot be handed out again"):
        AckOptions(**wrong)  # type: ignore[arg-type]  # one wrong value each
