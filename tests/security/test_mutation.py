"""Every check carries weight: with it off, an attack that it stops does something else than being refused."""

import pytest

from tests.security.attack import Attack, Change, corpus
from tests.security.mutants import checks, turn_off
from tests.security.world import World

STOPPED = tuple(attack for attack in corpus() if attack.stopped_by)
STOPPED_TWICE = tuple(attack for attack in STOPPED if len(attack.stopped_by) > 1)


@pytest.mark.parametrize("name", sorted(checks()))
def test_without_a_check_an_attack_that_only_it_stops_is_no_longer_refused(
    name: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    attacks = [attack for attack in corpus() if attack.stopped_by == (name,)]
    assert attacks
    turn_off(monkeypatch, [name])
    assert World().check(World().forge(Change())) == "accepted"
    results = {attack.title: World().suffer(attack.change) for attack in attacks}
    assert results == {attack.title: attack.otherwise for attack in attacks}


@pytest.mark.parametrize("attack", STOPPED, ids=lambda attack: attack.title)
def test_an_attack_is_stopped_by_nothing_else_than_it_says(
    attack: Attack, monkeypatch: pytest.MonkeyPatch
) -> None:
    turn_off(monkeypatch, attack.stopped_by)
    assert World().suffer(attack.change) == attack.otherwise


@pytest.mark.parametrize("attack", STOPPED_TWICE, ids=lambda attack: attack.title)
def test_each_of_several_checks_stops_an_attack_alone(attack: Attack) -> None:
    for name in attack.stopped_by:
        with pytest.MonkeyPatch.context() as patch:
            turn_off(patch, set(attack.stopped_by) - {name})
            assert World().suffer(attack.change) != "accepted", name


def test_attacks_name_checks_that_exist() -> None:
    assert {name for attack in corpus() for name in attack.stopped_by} == set(checks())
