import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest

from serve_apps.haproxy.edit import ProxyEdits, TemplateChanged, edit_config
from serve_apps.haproxy.replies import LENGTH_REQUIRED, REPLIES, Reply
from zejzl_ray.contracts.problems import Problem, error_of, wire_status
from zejzl_ray.errors import ZejzlError


@pytest.fixture
def generated(render: Callable[..., Path]) -> str:
    return render().read_text()


def binds(text: str) -> list[str]:
    return re.findall(r"^\s*bind (\S+)", text, re.MULTILINE)


def test_rays_own_file_would_listen_everywhere_and_the_edited_one_does_not(generated: str) -> None:
    assert sorted(binds(generated)) == ["*:8404", "127.0.0.1:7000", ":9101"]
    assert binds(edit_config(generated, ProxyEdits())) == ["127.0.0.1:7000"]


CERTIFICATE = Path("/x/ingress.pem")


def lines(text: str) -> list[str]:
    return re.findall(r"^\s*bind (.*\S)", text, re.MULTILINE)


def test_beyond_loopback_only_the_front_listens_and_with_tls(generated: str) -> None:
    assert lines(edit_config(generated, ProxyEdits(bind_host="192.0.2.7", certificate=CERTIFICATE))) == [
        "192.0.2.7:7000 ssl crt /x/ingress.pem alpn http/1.1 proto h1",
        "127.0.0.1:7000 proto h1",  # the tools of this machine
    ]


@pytest.mark.parametrize("host", ["0.0.0.0", "::", "*"])
def test_on_all_addresses_at_once_everybody_speaks_tls(generated: str, host: str) -> None:
    assert lines(edit_config(generated, ProxyEdits(bind_host=host, certificate=CERTIFICATE))) == [
        f"{host}:7000 ssl crt /x/ingress.pem alpn http/1.1 proto h1"
    ]


@pytest.mark.parametrize(("host", "others"), [("127.0.0.1", []), ("192.0.2.7", ["192.0.2.7:7000"])])
def test_loopback_is_encrypted_where_asked(generated: str, host: str, others: list[str]) -> None:
    edits = ProxyEdits(bind_host=host, certificate=CERTIFICATE, is_loopback_encrypted=True)
    edited = edit_config(generated, edits)

    assert binds(edited) == [*others, "127.0.0.1:7000"]
    assert edited.count(" ssl crt /x/ingress.pem") == 1 + len(others)


@pytest.mark.parametrize("edits", [ProxyEdits(bind_host="0.0.0.0"), ProxyEdits(is_loopback_encrypted=True)])
def test_without_a_certificate_nothing_listens_beyond_loopback(generated: str, edits: ProxyEdits) -> None:
    with pytest.raises(TemplateChanged, match="without a certificate"):
        edit_config(generated, edits)


def test_old_versions_of_tls_and_weak_ciphers_are_off(generated: str) -> None:
    edited = edit_config(generated, ProxyEdits())

    assert "    ssl-default-bind-options ssl-min-ver TLSv1.2 no-tls-tickets\n" in edited
    (ciphers,) = re.findall(r"ssl-default-bind-ciphers (\S+)", edited)
    assert all(name.startswith("ECDHE-ECDSA-") for name in ciphers.split(":"))


def test_editing_twice_changes_nothing(generated: str) -> None:
    once = edit_config(generated, ProxyEdits())
    assert edit_config(once, ProxyEdits()) == once


def test_the_admin_socket_is_for_its_owner_only(generated: str) -> None:
    edited = edit_config(generated, ProxyEdits())
    assert " mode 666 " not in edited
    assert "admin.sock mode 600 level admin" in edited


def test_the_rules_stand_before_those_of_ray(generated: str) -> None:
    edited = edit_config(generated, ProxyEdits())
    assert edited.index("url_dec -m beg -i /-/") < edited.index("if healthcheck")
    assert edited.index("url_dec -m beg -i /-/") < edited.index("if routes")


@pytest.mark.parametrize(
    "broken",
    [
        ("frontend prometheus", "frontend metrics"),
        ("listen stats", "listen statistics"),
        ("\nbackend default_backend", "\nbackend other"),
        ("mode 666", "mode 777"),
        ("errorfile", "errorpage"),
        ("bind 127.0.0.1:7000", "bind 127.0.0.1:7000\n    bind *:7001"),
        ("backend http-ingress\n", "backend http-ingress\n    bind *:1\n"),
        ("backend http-ingress\n", "backend http-ingress\n    bind unix@/tmp/x\n"),
        ("global", "  stray\nglobal"),
        ("    http-request return status 404", "    http-request deny"),
    ],
)
def test_a_file_that_looks_otherwise_is_refused(generated: str, broken: tuple[str, str]) -> None:
    old, new = broken
    assert old in generated
    with pytest.raises(TemplateChanged):
        edit_config(
            generated.replace(old, new, 1) if old != "errorfile" else generated.replace(old, new),
            ProxyEdits(),
        )


@pytest.mark.parametrize("host", ["", "a b", "x\n    bind *:1", "a;b"])
def test_an_address_that_is_none_is_refused(generated: str, host: str) -> None:
    with pytest.raises(TemplateChanged, match="use an IP address"):
        edit_config(generated, ProxyEdits(bind_host=host))


def test_an_empty_file_is_refused() -> None:
    with pytest.raises(TemplateChanged):
        edit_config("", ProxyEdits())


@pytest.mark.parametrize("reply", [*REPLIES, LENGTH_REQUIRED], ids=lambda reply: str(reply.status))
def test_the_proxys_own_answers_are_the_projects_problem_documents(reply: Reply) -> None:
    text = reply.arguments().partition("lf-string '")[2].rpartition("' hdr cache-control")[0]
    problem = Problem.model_validate(json.loads(text.replace("%%", "%")))
    assert (problem.status, problem.code) == (reply.status, reply.code)
    assert problem.type == f"urn:zejzl:problem:{reply.code}"
    assert "'" not in text
    error = error_of(problem)
    if type(error) is not ZejzlError and reply.status not in (400, 429, 501, 502):
        assert wire_status(error).http == reply.status
