"""What a dead letter means to the one who asked, and the other way round."""

import pytest

from zejzl_ray.bus.dead_letters import DeadLetterReason
from zejzl_ray.bus.message import Message
from zejzl_ray.bus.undeliverable import error_for, reason_for
from zejzl_ray.errors import BusError, MessageTooLarge, ZejzlError


@pytest.mark.parametrize("reason", list(DeadLetterReason))
def test_every_reason_is_an_error_that_says_it(reason: DeadLetterReason) -> None:
    message = Message("a", "b", "question", {}, correlation_id="c")
    error = error_for(message, reason, "as I said")
    assert isinstance(error, BusError)
    assert error.message == (
        f"The 'question' request of a did not reach b: {reason.value.replace('_', ' ')} (as I said)."
    )
    assert error.details == {"to_agent": "b", "reason": reason.value, "correlation_id": "c"}
    assert str(error_for(message, reason, "")).endswith(f"{reason.value.replace('_', ' ')}.")


@pytest.mark.parametrize("reason", list(DeadLetterReason))
def test_the_error_of_a_reason_leads_back_to_one_that_means_the_same(reason: DeadLetterReason) -> None:
    message = Message("a", "b", "question", {})
    error = error_for(message, reason, "")
    assert type(error_for(message, reason_for(error), "")) is type(error)


def test_whatever_has_no_reason_of_its_own_was_refused() -> None:
    assert reason_for(MessageTooLarge("too large")) is DeadLetterReason.REFUSED
    assert reason_for(ZejzlError("anything")) is DeadLetterReason.REFUSED
