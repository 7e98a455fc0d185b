"""Names that two had at once: found; those that went from one to the other: not."""

from hypothesis import given
from hypothesis import strategies as st

from zejzl_ray.testing.history import Action, Call, Hold, Outcome, double_owners, holds_of


def took(
    client: str,
    began_s: float,
    ended_s: float,
    lease_s: float = 10.0,
    action: Action = Action.TAKE,
    outcome: Outcome = Outcome.OK,
) -> Call:
    return Call(client, action, "lead", began_s, ended_s, outcome, lease_s=lease_s)


def test_a_lease_is_relied_on_from_the_answer_until_it_is_over_counted_from_the_question() -> None:
    assert holds_of([took("a", 1.0, 2.0)]) == [Hold("lead", "a", 2.0, 11.0)]


def test_a_grant_whose_answer_came_after_its_end_is_none() -> None:
    assert holds_of([took("a", 1.0, 12.0)]) == []


def test_what_was_refused_or_is_unknown_grants_nothing() -> None:
    assert (
        holds_of([took("a", 1, 2, outcome=Outcome.REFUSED), took("a", 3, 4, outcome=Outcome.UNKNOWN)]) == []
    )


def test_who_begins_to_give_a_name_back_does_not_rely_on_it_any_more() -> None:
    release = Call("a", Action.RELEASE, "lead", 5.0)
    other = Call("b", Action.RELEASE, "lead", 3.0)

    assert holds_of([took("a", 1, 2), release, other]) == [Hold("lead", "a", 2, 5)]


def test_two_at_once_are_found() -> None:
    found = double_owners(holds_of([took("a", 0, 1), took("b", 8, 9)]))

    assert found == [(Hold("lead", "a", 1, 10), Hold("lead", "b", 9, 18))]


def test_a_renewal_counts_as_a_grant_of_its_own() -> None:
    calls = [took("a", 0, 1), took("a", 8, 9, action=Action.RENEW), took("b", 16, 17)]

    assert len(double_owners(holds_of(calls))) == 1


def test_one_after_the_other_is_well_and_so_are_different_names() -> None:
    calls = [took("a", 0, 1), took("b", 10.5, 11), took("a", 21, 22)]

    assert double_owners(holds_of(calls)) == []
    assert double_owners([Hold("x", "a", 0, 9), Hold("y", "b", 1, 5)]) == []


def test_a_hold_says_who_and_when() -> None:
    assert str(Hold("lead", "a", 1, 2)) == "a has lead from 1.000000 to 2.000000 s"


_holds = st.lists(
    st.builds(
        lambda key, owner, from_s, length: Hold(key, owner, from_s, from_s + length),
        st.sampled_from("xy"),
        st.sampled_from("abc"),
        st.integers(0, 20),
        st.integers(1, 8),
    ),
    max_size=8,
)


@given(_holds)
def test_it_agrees_with_comparing_every_pair(holds: list[Hold]) -> None:
    twice = any(
        one.key == other.key
        and one.owner != other.owner
        and one.from_s < other.until_s
        and other.from_s < one.until_s
        for one in holds
        for other in holds
    )

    assert bool(double_owners(holds)) == twice
