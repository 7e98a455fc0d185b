"""``zejzl users``, ``zejzl login`` and ``zejzl logout`` against the real gateway."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from typer.testing import Result

from zejzl_ray.cli import console, users
from zejzl_ray.cli import gateway as cli_gateway
from zejzl_ray.contracts.access import Principal
from zejzl_ray.errors import (
    Conflict,
    Forbidden,
    InvalidInput,
    LoginRefused,
    NotFound,
    ServiceUnavailable,
    Unauthenticated,
)
from zejzl_ray.sdk.login_session import read_login

Run = Callable[..., Result]
PASSWORD = "four words without sense"
OTHER = "some more words instead"


@pytest.fixture
def ada(gateway: Any, run: Run) -> str:
    result = run("users", "add", "ada", "--role", "operator", typed=PASSWORD + "\n")
    assert result.exit_code == 0
    assert (result.stdout, "ada: operator" in result.stderr) == ("", True)
    assert PASSWORD not in result.output
    return "ada"


def as_json(result: Result) -> Any:
    assert result.exit_code == 0, result.output
    return json.loads(result.stdout)


def login(run: Run, name: str = "ada", password: str = PASSWORD) -> Result:
    return run("login", name, typed=password)


def test_a_person_is_listed_and_shown_without_anything_secret(ada: str, run: Run) -> None:
    table = run("users", "list").stdout
    assert "ada" in table
    assert "operator" in table
    assert "active" in table
    assert "ada" in run("users", "show", "ada").stdout
    (found,) = as_json(run("users", "list", "--json"))
    assert found == as_json(run("users", "show", "ada", "--json"))
    assert (found["user"], found["roles"]) == ("ada", ["operator"])


def test_without_a_role_a_person_is_a_viewer(gateway: Any, run: Run) -> None:
    run("users", "add", "bob", typed=PASSWORD)
    assert as_json(run("users", "show", "bob", "--json"))["roles"] == ["viewer"]


def test_roles_and_state_are_changed(ada: str, run: Run) -> None:
    assert "viewer, operator" in run("users", "roles", "ada", "--role", "viewer", "--role", "operator").stderr
    assert "closed" in run("users", "close", "ada").stderr
    assert "closed" in run("users", "list").stdout
    assert "active" in run("users", "open", "ada").stderr
    assert run("users", "unlock", "ada").exit_code == 0


def test_roles_want_at_least_one(ada: str, run: Run) -> None:
    result = run("users", "roles", "ada")
    assert result.exit_code == 2
    assert "--role" in result.stderr


def test_removing_a_person_says_whether_there_was_one(ada: str, run: Run) -> None:
    assert "ada: removed" in run("users", "remove", "ada").stderr
    assert "ada: was not there" in run("users", "remove", "ada").stderr


def test_an_operator_sets_a_password_without_the_old_one(ada: str, run: Run, tmp_path: Path) -> None:
    (tmp_path / "new").write_text(OTHER + "\n")
    # who_am_i of the test's own caller says that it is somebody else
    result = run("users", "password", "ada", "--password-file", str(tmp_path / "new"))
    assert result.exit_code == 0, result.exception
    assert OTHER not in result.output
    assert isinstance(login(run).exception, LoginRefused)
    assert login(run, password=OTHER).exit_code == 0


def test_ones_own_password_wants_the_old_one(ada: str, gateway: Any, run: Run, tmp_path: Path) -> None:
    gateway.principal = Principal(subject="user:ada", grants=("security_gateway:self:report",))
    refused = run("users", "password", "ada", typed=OTHER)
    assert isinstance(refused.exception, InvalidInput)
    assert "--old-password-file" in str(refused.exception)
    assert gateway.requests("set_password") == []
    (tmp_path / "old").write_text(PASSWORD)
    result = run("users", "password", "ada", "--old-password-file", str(tmp_path / "old"), typed=OTHER)
    assert result.exit_code == 0, result.exception
    assert login(run, password=OTHER).exit_code == 0


def test_in_a_terminal_ones_own_password_asks_for_both(
    ada: str, gateway: Any, run: Run, monkeypatch: pytest.MonkeyPatch
) -> None:
    gateway.principal = Principal(subject="user:ada", grants=("security_gateway:self:report",))
    asked: list[tuple[str, Any]] = []

    def prompt(text: str, **options: Any) -> str:
        asked.append((text, options))
        return PASSWORD if text.startswith("Old") else OTHER

    monkeypatch.setattr(users, "is_interactive", lambda: True)
    monkeypatch.setattr(cli_gateway, "is_interactive", lambda: True)
    monkeypatch.setattr("typer.prompt", prompt)
    assert run("users", "password", "ada").exit_code == 0
    assert [text for text, _ in asked] == ["Old password", "New password of ada"]
    assert [options["confirmation_prompt"] for _, options in asked] == [False, True]
    assert all(options["hide_input"] and options["err"] for _, options in asked)


# --- login ---------------------------------------------------------------------------------------------------


def test_a_login_is_kept_for_its_owner_alone_and_ended_by_a_logout(
    ada: str, gateway: Any, run: Run, data_dir: Path
) -> None:
    result = login(run, "user:ada")
    assert (result.exit_code, result.stdout) == (0, "")
    assert "logged in as user:ada, until 20" in result.stderr
    path = data_dir / "session"
    assert path.stat().st_mode & 0o777 == 0o600
    saved = read_login(path)
    assert saved is not None
    assert saved.access_token.get_secret_value() not in result.output

    gateway.principal = Principal(subject="user:ada", grants=("*:*:*",), session=saved.session)
    (found,) = as_json(run("auth", "sessions", "--json"))
    assert (found["session"], found["is_active"]) == (saved.session, True)
    assert "logged out user:ada" in run("logout").stderr
    assert not path.exists()
    (found,) = as_json(run("users", "sessions", "ada", "--json"))
    assert found["is_active"] is False
    assert isinstance(run("logout").exception, InvalidInput)


def test_a_login_says_when_another_token_goes_first(
    ada: str, run: Run, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("ZEJZL_TOKEN_FILE", str(tmp_path / "token"))
    assert "ZEJZL_TOKEN_FILE is set" in login(run).stderr


def test_a_wrong_password_leaves_no_login(ada: str, run: Run, data_dir: Path) -> None:
    assert isinstance(login(run, password="wrong").exception, LoginRefused)
    assert read_login(data_dir / "session") is None


def test_a_logout_without_the_gateway_forgets_the_login_all_the_same(
    ada: str, gateway: Any, run: Run, data_dir: Path
) -> None:
    login(run)
    gateway.trouble = [ServiceUnavailable("away")]
    result = run("logout")
    assert result.exit_code == 0
    assert "could not be told" in result.stderr
    assert not (data_dir / "session").exists()


def test_a_login_file_that_others_may_read_is_not_used_to_log_out(ada: str, run: Run, data_dir: Path) -> None:
    login(run)
    (data_dir / "session").chmod(0o644)
    assert isinstance(run("logout").exception, Unauthenticated)


def test_sessions_are_shown_and_ended(ada: str, gateway: Any, run: Run, data_dir: Path) -> None:
    login(run)
    saved = read_login(data_dir / "session")
    assert saved is not None
    assert saved.session in run("users", "sessions").stdout
    assert run("users", "sessions", "--end", saved.session).exit_code == 0
    assert "ended by user:root" in run("users", "sessions", "ada").stdout
    gateway.principal = Principal(subject="user:ada", grants=("*:*:*",))
    assert "ended by" in run("auth", "sessions").stdout
    assert run("auth", "sessions", "--end", saved.session).exit_code == 0
    assert isinstance(run("auth", "sessions", "--end", "nothing").exception, NotFound)


# --- bad input -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "place"),
    [
        (("users", "show", "a b"), "user: a name begins with a letter"),
        (("users", "add", "1ada"), "user: a name begins with a letter"),
        (("users", "add", "ada", "--role", "Boss!"), "roles.0: a role is written in small letters"),
        (("login", ""), "user: String should have at least 1"),
        (("users", "sessions", "a:b"), "subject: a subject is user, agent"),
        (("users", "sessions", "--end", "a/b"), "session: an id has letters"),
    ],
)
def test_what_cannot_be_is_named_with_its_place_and_nothing_is_sent(
    gateway: Any, run: Run, arguments: tuple[str, ...], place: str
) -> None:
    result = run(*arguments, typed=PASSWORD)
    assert isinstance(result.exception, InvalidInput)
    assert place in str(result.exception)
    assert PASSWORD not in str(result.exception)
    assert gateway.asked == []


@pytest.mark.parametrize("typed", ["", "\n", "x" * 70_000])
def test_a_password_that_is_none_is_refused(gateway: Any, run: Run, typed: str) -> None:
    result = run("users", "add", "ada", typed=typed)
    assert isinstance(result.exception, InvalidInput)
    assert "empty, or longer" in str(result.exception)


def test_a_password_file_is_read_whole_but_for_its_last_line_end(
    gateway: Any, run: Run, tmp_path: Path
) -> None:
    file = tmp_path / "password"
    file.write_bytes(b" four words \r\n without sense \r\n")
    assert run("users", "add", "ada", "--password-file", str(file)).exit_code == 0
    (request,) = gateway.requests("create_user")
    assert request.password.get_secret_value() == " four words \r\n without sense "


def test_a_password_file_that_cannot_be_read_is_named(gateway: Any, run: Run, tmp_path: Path) -> None:
    missing = run("users", "add", "ada", "--password-file", str(tmp_path / "none"))
    assert f"{tmp_path / 'none'} cannot be read" in str(missing.exception)
    (tmp_path / "binary").write_bytes(b"\xff\xfegeheim")
    binary = run("users", "add", "ada", "--password-file", str(tmp_path / "binary"))
    assert isinstance(binary.exception, InvalidInput)
    assert "no UTF-8" in str(binary.exception)
    assert "geheim" not in str(binary.exception)


def test_what_the_gateway_refuses_arrives_as_it_is(ada: str, gateway: Any, run: Run) -> None:
    assert isinstance(run("users", "add", "ada", typed=PASSWORD).exception, Conflict)
    gateway.trouble = [Forbidden("No.")]
    assert isinstance(run("users", "list").exception, Forbidden)


def test_commands_close_their_connection(ada: str, gateway: Any, run: Run) -> None:
    closed = gateway.closed
    run("users", "list")
    login(run)
    assert gateway.closed == closed + 2


def test_foreign_words_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    console.say("note: \x1b[2J[bold]x[/]\nnew line")
    shown = capsys.readouterr().err
    assert "note: ?[2J[bold]x[/]?new line" in shown
    cli_gateway.show_table("t", ("a",), [("\x1b]0;title\x07 [red]b",)])
    assert "\x1b]" not in capsys.readouterr().out


@pytest.mark.parametrize(
    ("at_s", "shown"), [(None, ""), (0.0, "1970-01-01 00:00:00Z"), (1e20, "1e+20"), (float("nan"), "nan")]
)
def test_a_time_is_shown_in_utc(at_s: float | None, shown: str) -> None:
    assert cli_gateway.when(at_s) == shown


async def test_pages_are_read_to_the_end_and_never_in_a_circle() -> None:
    pages = {"": ([1, 2], "a"), "a": ([3], "b"), "b": ([4], "b")}

    async def read(cursor: str) -> tuple[list[int], str]:
        return pages[cursor]

    assert await cli_gateway.all_pages(read) == [1, 2, 3, 4]
