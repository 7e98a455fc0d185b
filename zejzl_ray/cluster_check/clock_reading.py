"""How far another clock is ahead, from one question and its answer."""

from zejzl_ray.cluster_check.facts import Clock


def clock_reading(asked_at_s: float, answer_s: float, answered_at_s: float) -> Clock:
    """Return the difference of two clocks; the answer was given at some moment between the other two.

    Args:
        asked_at_s: wall time here, when the question went out.
        answer_s: wall time there.
        answered_at_s: wall time here, when the answer was in.
    """
    uncertainty_s = max(0.0, answered_at_s - asked_at_s) / 2
    return Clock(ahead_s=answer_s - (asked_at_s + answered_at_s) / 2, uncertainty_s=uncertainty_s)
