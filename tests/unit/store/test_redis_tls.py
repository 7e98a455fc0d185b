"""What a Redis URL is given for TLS."""

from pathlib import Path

import pytest

from zejzl_ray.store.redis_tls import with_tls_files

_FILES = {"authority": Path("/t/ca.pem"), "certificate": Path("/t/a b.pem"), "key": Path("/t/a.key")}


@pytest.mark.parametrize(
    "url", ["redis://:p@h:6380/0?x=1", "redis+sentinel://h/main/0", "sqlite:///d", "memory://"]
)
def test_a_url_without_tls_stays_as_it_is(url: str) -> None:
    assert with_tls_files(url, **_FILES) == url


def test_files_are_added_and_the_password_stays() -> None:
    assert with_tls_files("rediss://:p%40@h:6380/0", **_FILES) == (
        "rediss://:p%40@h:6380/0?ssl_ca_certs=%2Ft%2Fca.pem&ssl_certfile=%2Ft%2Fa+b.pem&ssl_keyfile=%2Ft%2Fa.key"
    )


def test_sentinels_get_them_too_where_tls_is_on() -> None:
    found = with_tls_files("redis+sentinel://h:26379/main/0?ssl=true", **_FILES)

    assert found.startswith("redis+sentinel://h:26379/main/0?ssl=true&ssl_ca_certs=")


def test_what_the_url_names_itself_counts() -> None:
    own = "rediss://h/0?ssl_ca_certs=%2Fo&ssl_certfile=%2Fc"

    assert with_tls_files(own, **_FILES) == own
    assert with_tls_files("rediss://h/0", authority=None, certificate=None, key=None) == "rediss://h/0"
