from collections.abc import Callable
from pathlib import Path

import pytest

from serve_apps.haproxy.edit import MARK, TemplateChanged
from serve_apps.haproxy.wrapper import prepare


def test_the_file_is_edited_and_the_arguments_are_passed_on(render: Callable[..., Path]) -> None:
    config = render()
    environment = {
        "ZEJZL_HAPROXY_BINARY": "/x/haproxy",
        "ZEJZL_HAPROXY_BIND_HOST": "::1",
        "ZEJZL_HAPROXY_MAX_BODY_BYTES": "77",
    }
    arguments = ["-db", "-f", str(config), "-dR", "-sf", "12"]
    assert prepare(arguments, environment) == ["/x/haproxy", *arguments]
    edited = config.read_text()
    assert edited.startswith(MARK)
    assert "bind ::1:7000" in edited
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


def test_certificate_and_key_become_one_private_file_beside_the_configuration(
    render: Callable[..., Path], tmp_path: Path
) -> None:
    config = render()
    sources = {"CERTIFICATE": b"cert\n\nmore\n", "KEY": b"key"}
    environment = {"ZEJZL_HAPROXY_BINARY": "/x", "ZEJZL_HAPROXY_BIND_HOST": "0.0.0.0"}
    for name, content in sources.items():
        (tmp_path / name).write_bytes(content)
        environment[f"ZEJZL_HAPROXY_{name}"] = str(tmp_path / name)
    bundle = config.with_name("ingress.pem")

    prepare(["-f", str(config)], environment)

    assert bundle.read_bytes() == b"cert\nmore\nkey\n"
    assert bundle.stat().st_mode & 0o777 == 0o600
    assert f"bind 0.0.0.0:7000 ssl crt {bundle}" in config.read_text()
    (tmp_path / "CERTIFICATE").write_bytes(b"renewed\n")
    prepare(["-f", str(config)], environment)  # a reload of an edited file
    assert bundle.read_bytes() == b"renewed\nkey\n"
    assert sorted(path.name for path in config.parent.glob("*.draft")) == []


def test_a_certificate_that_is_not_there_starts_nothing(render: Callable[..., Path]) -> None:
    environment = {
        "ZEJZL_HAPROXY_BINARY": "/x",
        "ZEJZL_HAPROXY_CERTIFICATE": "/nowhere",
        "ZEJZL_HAPROXY_KEY": "/nowhere",
    }

    with pytest.raises(FileNotFoundError):
        prepare(["-f", str(render())], environment)
