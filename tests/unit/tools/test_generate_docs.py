import re
from pathlib import Path

import pytest

from tools.generate_docs import PAGES, main
from zejzl_ray import errors
from zejzl_ray.contracts.services import AGENT_HOST_OPERATIONS, BY_SERVICE, NODE_AGENT_OPERATIONS, OPERATIONS
from zejzl_ray.errors import ZejzlError
from zejzl_ray.settings import Settings


@pytest.fixture(scope="module")
def pages() -> dict[str, str]:
    return {name: make() for name, make in PAGES.items()}


@pytest.fixture
def written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Path:
    assert main(["--directory", str(tmp_path)]) == 0
    capsys.readouterr()
    return tmp_path


def test_the_pages_are_the_same_every_time(pages: dict[str, str]) -> None:
    assert {name: make() for name, make in PAGES.items()} == pages


def test_fresh_pages_pass_the_check(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["--directory", str(written), "--check"]) == 0
    assert "all fresh" in capsys.readouterr().out


def test_a_stale_or_missing_page_is_named_and_not_touched(
    written: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (written / "errors.md").write_text("old")
    (written / "cli.md").unlink()
    assert main(["--directory", str(written), "--check"]) == 1
    said = capsys.readouterr().err
    assert "errors.md" in said
    assert "cli.md" in said
    assert "settings.md" not in said
    assert "make docs" in said
    assert (written / "errors.md").read_text() == "old"
    assert not (written / "cli.md").exists()


def test_writing_touches_only_what_is_stale(written: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (written / "errors.md").write_text("old")
    assert main(["--directory", str(written)]) == 0
    said = capsys.readouterr().out
    assert "errors.md" in said
    assert "settings.md" not in said
    assert main(["--directory", str(written), "--check"]) == 0


def test_every_setting_has_a_row(pages: dict[str, str]) -> None:
    missing = [
        name for name in Settings.model_fields if f"`ZEJZL_{name.upper()}`" not in pages["settings.md"]
    ]
    assert missing == []


def test_every_error_has_a_row_with_its_code(pages: dict[str, str]) -> None:
    own = [
        value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, ZejzlError)
    ]
    assert [cls.__name__ for cls in own if f"`{cls.__name__}` | `{cls.code}`" not in pages["errors.md"]] == []


def test_every_operation_of_every_service_is_listed(pages: dict[str, str]) -> None:
    rows = pages["operations_list.md"].splitlines()
    missing = [
        (one.service, one.name)
        for one in (*OPERATIONS, *NODE_AGENT_OPERATIONS, *AGENT_HOST_OPERATIONS)
        if not any(row.startswith(f"| {one.service} | `{one.name}` |") for row in rows)
    ]
    assert missing == []


def test_who_may_do_what_stands_beside_each_operation(pages: dict[str, str]) -> None:
    rows = pages["operations_list.md"].splitlines()
    (login,) = [row for row in rows if "| `issue_token` |" in row]
    assert "| anybody |" in login
    (beat,) = [row for row in rows if "| `heartbeat` |" in row]
    assert BY_SERVICE["core_orchestrator"]["heartbeat"].scope in beat
    (stop,) = [row for row in rows if row.startswith("| error_bus | `stop` |")]
    assert stop.endswith("| handle only |")


def test_what_has_no_route_is_on_no_page_of_routes(pages: dict[str, str]) -> None:
    routes = [line for line in pages["http_api.md"].splitlines() if re.match(r"\| `[A-Z]+ ", line)]
    assert len(routes) == len([one for one in OPERATIONS if one.path]) + 1
    assert not [line for line in routes if ".stop`" in line]
    (own,) = [line for line in routes if "/v1/auth/users/{user}`" in line and "GET" in line]
    assert "`security_gateway:self:read` (`user`)" in own


def test_the_methods_of_the_client_are_there_with_their_arguments(pages: dict[str, str]) -> None:
    assert "agent(self, name: str, *, timeout_s: float | None = None) -> Agent" in pages["python_api.md"]


def test_no_page_names_a_path_of_the_machine_it_was_written_on(pages: dict[str, str]) -> None:
    here = (str(Path.home()), str(Path(__file__).parents[3]))
    assert [name for name, text in pages.items() if any(path in text for path in here)] == []
