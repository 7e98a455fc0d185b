from collections.abc import Callable
from pathlib import Path

import pytest

from serve_apps.haproxy.edit import MARK, TemplateChanged
from serve_apps.haproxy.wrapper import prepare


def test_the_file_is_edited_and_the_arguments_are_passed_on(render: Callable[..., Path]) -> None:
    config = render()
    environment = {
        "ZEJZL_HAPROXY_BINARY": "/x/haproxy",
        "ZEJZL_HAPROXY_BIND_HOST": "0.0.0.0",
        "ZEJZL_HAPROXY_MAX_BODY_BYTES": "77",
    }
    arguments = ["-db", "-f", str(config), "-dR", "-sf", "12"]
    assert prepare(arguments, environment) == ["/x/haproxy", *arguments]
    edited = config.read_text()
    assert edited.startswith(MARK)
    assert "bind 0.0.0.0:7000" in edited
    assert "gt 77 }" in edited


def test_without_a_file_nothing_is_edited() -> None:
    assert prepare(["-v"], {"ZEJZL_HAPROXY_BINARY": "/x"}) == ["/x", "-v"]


def test_without_the_real_program_nothing_starts() -> None:
    with pytest.raises(TemplateChanged, match="ZEJZL_HAPROXY_BINARY"):
        prepare(["-v"], {})


def test_the_default_is_loopback(render: Callable[..., Path]) -> None:
    config = render(host="0.0.0.0")
    prepare(["-f", str(config)], {"ZEJZL_HAPROXY_BINARY": "/x"})
    assert "bind 127.0.0.1:7000" in config.read_text()
