"""Every attack of the corpus is refused, for the reason that it names, and its unchanged twin passes."""

from collections import Counter

import pytest

from tests.security.attack import Attack, Change, corpus
from tests.security.world import World

every_attack = pytest.mark.parametrize("attack", corpus(), ids=lambda attack: attack.title)

CLASSES = {
    "algorithm-none",
    "algorithm-confusion",
    "embedded-jwk",
    "jku",
    "x5u",
    "kid",
    "type",
    "issuer",
    "audience",
    "subject",
    "expiry",
    "not-yet",
    "arrays",
    "duplicate-fields",
    "size-and-depth",
    "extensions",
    "signature-cut",
    "signature-flipped",
    "text",
    "other-key",
    "revoked",
    "rotated-out",
    "scope",
    "identifiers",
    "additional-claims",
}
FEWEST_OF_A_CLASS = 3


@every_attack
def test_an_attack_is_refused(attack: Attack) -> None:
    assert World().suffer(attack.change) == attack.refused_as


@every_attack
def test_the_unchanged_twin_of_an_attack_passes(attack: Attack) -> None:
    twin, attacked = World(), World()
    token = twin.forge(Change())
    is_other_token = attacked.forge(attack.change) != token
    is_other_world = bool(
        attack.change.wait_s
        or attack.change.revoke
        or attack.change.audiences
        or attack.change.keys is not None
    )
    assert is_other_token is not is_other_world
    assert twin.check(token) == "accepted"


def test_every_class_is_there_with_at_least_three_attacks() -> None:
    counts = Counter(attack.group for attack in corpus())
    assert set(counts) == CLASSES
    assert {group for group, count in counts.items() if count < FEWEST_OF_A_CLASS} == set()


def test_no_two_attacks_are_the_same() -> None:
    changes = Counter(repr(attack.change) for attack in corpus())
    assert [change for change, count in changes.items() if count > 1] == []


@every_attack
def test_a_refusal_tells_nothing_of_the_token_or_the_rule(attack: Attack) -> None:
    world = World()
    texts = refusals(world, attack)
    assert texts <= {
        "The access token is malformed. Send the whole token as it was issued, and nothing beside it.",
        "The access token is not accepted. Get a new one and call again.",
        "The access token has expired. Get a new one and call again.",
        "The access token was revoked. Log in again, or ask an administrator for a new credential.",
    }


def refusals(world: World, attack: Attack) -> set[str]:
    texts = []
    check = world.tokens.check

    def listen(token: str, audiences: frozenset[str]) -> object:
        try:
            return check(token, audiences)
        except Exception as error:
            texts.append(str(error))
            raise

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(world.tokens, "check", listen)
        world.suffer(attack.change)
    assert texts
    return set(texts)
