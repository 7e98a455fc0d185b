from zejzl_ray.orchestrator.config import RegistryConfig
from zejzl_ray.orchestrator.protection import ProtectionGuard


def guard(**settings: object) -> ProtectionGuard:
    return ProtectionGuard(RegistryConfig.model_validate(settings))


def names(count: int) -> list[str]:
    return [f"A{number}" for number in range(count)]


def test_few_silent_agents_are_let_go() -> None:
    verdict = guard().judge(names(5), 10, 0)
    assert verdict.to_lose == tuple(names(5))
    assert verdict.alarm == ""


def test_more_than_the_share_at_once_is_held_with_an_alarm() -> None:
    protection = guard()
    verdict = protection.judge(names(6), 10, 0)
    assert verdict.to_lose == ()
    assert verdict.alarm.startswith("6 of 10 agents fell silent")
    assert protection.is_holding


def test_losses_one_after_the_other_within_the_window_count_together() -> None:
    protection = guard()
    protection.judge(names(4), 10, 0)
    protection.lost(4, 0)
    assert protection.judge(names(2), 6, 30).alarm
    assert not protection.judge(names(2), 6, 61).alarm


def test_small_registries_are_not_protected() -> None:
    assert guard().judge(names(4), 4, 0).to_lose


def test_it_clears_when_the_agents_are_heard_again() -> None:
    protection = guard()
    assert protection.judge(names(6), 10, 0).alarm
    assert protection.judge([], 10, 5).alarm == ""
    assert not protection.is_holding


def test_the_rest_is_lost_once_few_enough_are_silent() -> None:
    protection = guard()
    assert protection.judge(names(6), 10, 0).alarm
    assert protection.judge(names(3), 10, 5).to_lose == tuple(names(3))


def test_the_hold_runs_out() -> None:
    protection = guard(protection_hold_s=100)
    assert protection.judge(names(6), 10, 0).alarm
    assert protection.judge(names(6), 10, 99).alarm
    verdict = protection.judge(names(6), 10, 100)
    assert verdict.to_lose == tuple(names(6))
    protection.lost(6, 100)
    assert protection.judge([], 4, 101).to_lose == ()


def test_an_operator_can_accept_the_losses() -> None:
    protection = guard()
    assert protection.judge(names(6), 10, 0).alarm
    protection.accept()
    assert protection.judge(names(6), 10, 1).to_lose == tuple(names(6))


def test_the_number_of_moves_in_one_tick_is_bounded() -> None:
    assert len(guard(moves_per_tick=2).judge(names(5), 100, 0).to_lose) == 2
