"""The project's own file with somebody's values: what is not theirs stays as it was."""

import pytest
import yaml

from zejzl_ray.cluster_file import template as template_places
from zejzl_ray.cluster_file.fill_in import Values, fill_in, fill_in_redis
from zejzl_ray.cluster_file.model import DeclaredMachine
from zejzl_ray.cluster_file.start_command import parse_start_command
from zejzl_ray.cluster_file.template import CLUSTER_TEMPLATE, REDIS_TEMPLATE, read_template
from zejzl_ray.errors import InvalidInput, NotFound


def _values(*workers: tuple[str, str], head: str = "10.0.0.1") -> Values:
    return Values(
        head=DeclaredMachine(name="big", address=head),
        workers=tuple(DeclaredMachine(name=name, address=address) for name, address in workers),
        ssh_user="me",
        ssh_private_key="~/.ssh/other key",
    )


def test_a_third_machine_is_one_more_line() -> None:
    text = fill_in(read_template(CLUSTER_TEMPLATE), _values(("pc2", "10.0.0.2"), ("nas", "nas.lan")))

    data = yaml.safe_load(text)
    assert data["provider"] == {"type": "local", "head_ip": "10.0.0.1", "worker_ips": ["10.0.0.2", "nas.lan"]}
    assert data["auth"] == {"ssh_user": "me", "ssh_private_key": "~/.ssh/other key"}
    assert (data["min_workers"], data["max_workers"]) == (2, 2)
    head = parse_start_command(data["head_start_ray_commands"][0])
    worker = parse_start_command(data["worker_start_ray_commands"][0])
    assert head is not None
    assert worker is not None
    assert (head.machine, head.environment) == ("big", {"ZEJZL_STORE_URL": "rediss://10.0.0.1:6380"})
    assert worker.workers == (("pc2", "10.0.0.2"), ("nas", "nas.lan"))
    assert "issue pc2 --address 10.0.0.2 --ssh me@10.0.0.2" in text
    assert "issue nas --address ITS-IP-ADDRESS --ssh me@nas.lan" in text


def test_every_comment_and_every_other_value_stays() -> None:
    template = read_template(CLUSTER_TEMPLATE)
    text = fill_in(template, _values(("pc2", "10.0.0.2")))

    changed = set(text.splitlines()) ^ set(template.splitlines())
    words = (
        "192.168.1",
        "10.0.0",
        "ssh_user",
        "ssh_private_key",
        "--machine",
        "--head",
        "issue pc2",
        "node start",
    )
    assert not [line for line in changed if not any(word in line for word in words)]
    assert "192.168.1" not in text


def test_filling_in_twice_gives_the_same() -> None:
    values = _values(("pc2", "10.0.0.2"), ("nas", "10.0.0.3"))
    once = fill_in(read_template(CLUSTER_TEMPLATE), values)

    assert yaml.safe_load(fill_in(once, values)) == yaml.safe_load(once)


def test_a_head_alone_and_an_address_with_colons() -> None:
    data = yaml.safe_load(fill_in(read_template(CLUSTER_TEMPLATE), _values(head="fd00::1")))

    assert data["provider"]["worker_ips"] == []
    assert data["provider"]["head_ip"] == "fd00::1"
    assert "rediss://[fd00::1]:6380" in data["head_start_ray_commands"][0]


def test_a_template_that_lacks_a_place_is_refused() -> None:
    with pytest.raises(InvalidInput, match=r"no provider\.head_ip"):
        fill_in("provider: {}\n", _values())


def test_redis_gets_address_certificate_and_data_directory() -> None:
    text = fill_in_redis(
        read_template(REDIS_TEMPLATE), DeclaredMachine(name="big", address="10.0.0.1"), "/home/me/data"
    )

    assert "\nbind 10.0.0.1 127.0.0.1\n" in text
    assert "\ntls-cert-file /home/me/data/tls/big.pem\n" in text
    assert "\ninclude /home/me/data/redis_auth.conf\n" in text
    assert "/home/zejzl" not in text


def test_an_installation_without_its_template_says_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(template_places, "_PLACES", {CLUSTER_TEMPLATE: ()})

    with pytest.raises(NotFound, match=r"no cluster\.yaml"):
        read_template(CLUSTER_TEMPLATE)


@pytest.mark.parametrize("text", ["ray start --head", "zejzl node stop", ""])
def test_other_commands_are_no_start(text: str) -> None:
    assert parse_start_command(text) is None


def test_a_start_command_ends_where_the_shell_ends_it() -> None:
    found = parse_start_command("A=1 ; B=2 /x/zejzl node start --head --machine=big && echo --machine other")

    assert found is not None
    assert (found.is_head, found.machine, found.environment) == (True, "big", {"B": "2"})
