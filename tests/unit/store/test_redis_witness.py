"""What the Sentinels say decides whether a primary may go on alone."""

import asyncio
from collections.abc import Sequence

import pytest
from redis.exceptions import ConnectionError

from zejzl_ray.errors import SettingsInvalid
from zejzl_ray.store import open_store
from zejzl_ray.store.redis_witness import Voter, Witness, parse_sentinels
from zejzl_ray.testing import ManualClock

_OWN = {"ip": "10.0.0.1", "port": "6380", "flags": "master"}
_SILENT = None


class Sentinel:
    """Answers as a test says; None: not at all."""

    def __init__(self, watched: dict[str, str] | None) -> None:
        self.watched = watched
        self.asked = 0

    async def ask(self) -> Sequence[dict[str, str]]:
        self.asked += 1
        if self.watched is None:
            raise ConnectionError("gone")
        return [{"ip": "10.9.9.9", "port": "1", "flags": "s_down,master"}, self.watched]


def witness(*watched: dict[str, str] | None, host: str = "10.0.0.1") -> tuple[Witness, list[Sentinel]]:
    sentinels = [Sentinel(one) for one in watched]
    voters = [Voter(f"s{number}", one.ask) for number, one in enumerate(sentinels, 1)]

    async def close() -> None:
        await asyncio.sleep(0)

    return Witness(voters, (host, 6380), close), sentinels


@pytest.mark.parametrize("watched", [(_OWN, _OWN, _OWN), (_OWN, _OWN, _SILENT), (_SILENT, _OWN, _OWN)])
async def test_more_than_half_are_enough(watched: tuple[dict[str, str] | None, ...]) -> None:
    assert await witness(*watched)[0].objection() == ""


@pytest.mark.parametrize(
    ("watched", "reason"),
    [
        ((_OWN, _SILENT, _SILENT), "1 of 3 Sentinels name this primary, which is not more than half"),
        ((_OWN, _OWN, _SILENT, _SILENT), "2 of 4 Sentinels name this primary, which is not more than half"),
        ((_OWN, _OWN | {"flags": "master,disconnected"}, _SILENT), "1 of 3 Sentinels name this primary"),
        ((_OWN, _OWN, _OWN | {"ip": "10.0.0.2"}), "Sentinel at s3 names another primary"),
        ((_OWN, _OWN, _OWN | {"port": "6379"}), "Sentinel at s3 names another primary"),
        ((_OWN, _OWN, _OWN | {"flags": "s_down,master"}), "Sentinel at s3 doubts this primary"),
        (
            (_OWN, _OWN, _OWN | {"flags": "master,failover_in_progress"}),
            "doubts this primary (master,failover_in_progress)",
        ),
        ((_SILENT, _SILENT, _SILENT), "0 of 3"),
    ],
)
async def test_fewer_or_a_doubt_are_not(watched: tuple[dict[str, str] | None, ...], reason: str) -> None:
    assert reason in await witness(*watched)[0].objection()


async def test_one_that_was_silent_is_not_asked_again_while_the_others_are_enough() -> None:
    asked, sentinels = witness(_OWN, _OWN, _SILENT)
    for _ in range(3):
        assert await asked.objection() == ""
    assert [one.asked for one in sentinels] == [3, 3, 1]
    sentinels[1].watched, sentinels[2].watched = _SILENT, _OWN | {"flags": "o_down,master"}
    assert "s3 doubts" in await asked.objection()


async def test_those_that_come_back_are_all_asked_before_one_of_them_counts() -> None:
    asked, sentinels = witness(_OWN, _SILENT, _SILENT)
    assert await asked.objection()
    sentinels[1].watched, sentinels[2].watched = _OWN, _OWN | {"flags": "master,failover_in_progress"}
    assert "s3 doubts" in await asked.objection()


async def test_a_primary_that_the_url_names_is_known_by_its_address() -> None:
    own = {"ip": "127.0.0.1", "port": "6380", "flags": "master"}
    assert await witness(own, own, own, host="localhost")[0].objection() == ""
    assert "another" in await witness(own, own, own, host="no.such.name.invalid")[0].objection()


def test_sentinels_have_a_port_by_default() -> None:
    assert parse_sentinels("a, b:1,[::1]:2,[::2]") == (("a", 26379), ("b", 1), ("::1", 2), ("::2", 26379))


@pytest.mark.parametrize("text", ["", "a,,b", "a,a", "a,a:26379", "a:x", "u:p@a", "a/b"])
def test_sentinels_that_cannot_be_read_are_refused(text: str) -> None:
    with pytest.raises(ValueError):
        parse_sentinels(text)


@pytest.mark.parametrize(
    ("url", "reason"),
    [
        ("redis://127.0.0.1:1?replicas=1&when_away=witness", "all Sentinels"),
        ("redis://127.0.0.1:1?replicas=1&when_away=witness&sentinels=a,b", "three or more"),
        ("redis+sentinel://a,b,c/z?replicas=1&when_away=witness&sentinels=a,b,c", "names the primary"),
        ("redis://127.0.0.1:1?when_away=witness&sentinels=a,b,c:x", "no usable value"),
    ],
)
async def test_a_url_that_asks_nobody_is_refused(url: str, reason: str) -> None:
    with pytest.raises(SettingsInvalid) as caught:
        await open_store(url, "core", clock=ManualClock(), owner="test")
    assert reason in str(caught.value)
