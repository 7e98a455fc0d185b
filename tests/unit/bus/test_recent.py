"""How much was sent lately."""

from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.bus.recent import RecentCount


@given(
    gaps=st.lists(st.sampled_from([0.0, 0.01, 0.3, 1.0, 5.0, 70.0]), max_size=200),
    seconds=st.sampled_from([5.0, 60.0]),
)
def test_the_count_is_right_to_a_second(gaps: list[float], seconds: float) -> None:
    now_s, total = 100.0, 0
    recent = RecentCount(now_s)
    sent: list[float] = []
    for gap in gaps:
        now_s += gap
        if now_s >= recent.next_mark_s:
            recent.mark(now_s, total)
        total += 1
        sent.append(now_s)
    counted = recent.within(now_s, seconds, total)
    surely = sum(at_s >= now_s - seconds + 1 for at_s in sent)
    perhaps = sum(at_s >= now_s - seconds for at_s in sent)
    assert surely <= counted <= perhaps


def test_nothing_was_sent_before_the_start() -> None:
    assert RecentCount(0.0).within(0.0, 60.0, 0) == 0
