"""The record of the head in a real Redis, where another release has written it."""

import json
from collections.abc import Iterator
from contextlib import closing

import pytest
import redis

from tests.contract.store.redis_over_tls import has_tls
from tests.contract.store.redis_pair import Pair, first_record, pair
from zejzl_ray.cluster.head_record import KEY
from zejzl_ray.cluster.shared_store import service_store_url
from zejzl_ray.errors import ClusterError

pytestmark = pytest.mark.skipif(
    not has_tls(), reason="this redis-server has no TLS: install one that has (apt-get install redis-server)"
)
__all__ = ["pair"]


@pytest.fixture
def client(pair: Pair) -> Iterator["redis.Redis"]:
    with redis.Redis.from_url(service_store_url(pair.settings).get_secret_value()) as client:
        yield client


def test_what_a_newer_release_has_added_is_ignored(pair: Pair, client: "redis.Redis") -> None:
    first = first_record(pair)
    client.set(KEY, json.dumps({**json.loads(first.model_dump_json()), "new": {"of": "a newer release"}}))

    with closing(pair.peer(pair.first)) as peer:
        assert peer.claim(first, None)  # it stands there already, and stays with all that is in it
        assert b"a newer release" in (client.get(KEY) or b"")
        assert pair.standing(pair.first).record == first
        assert peer.claim(first.model_copy(update={"term": 2}), first)
        assert pair.standing(pair.first).record == first.model_copy(update={"term": 2})


def test_a_record_that_is_not_understood_is_written_over_by_nobody(pair: Pair, client: "redis.Redis") -> None:
    text = b'{"term": "seven of another kind", "machine": "pc2"}'
    client.set(KEY, text)

    with closing(pair.peer(pair.first)) as peer:
        assert peer.look() is None
        with pytest.raises(ClusterError, match="cannot be understood"):
            peer.claim(first_record(pair), None)

    assert client.get(KEY) == text
