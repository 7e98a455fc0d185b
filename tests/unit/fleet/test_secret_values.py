"""Secrets belong to the gateway; a startup configuration refers to them."""

from collections.abc import Callable
from pathlib import Path

import pytest

from zejzl_ray.fleet.load import LoadedFleet, load_fleet

LoadText = Callable[..., LoadedFleet]

HEAD = "schema: zejzl.fleet/1\nmachines: {mainpc: }\nagents:\n  A:\n    environment:\n"
SECRET = "hunter2-and-more"
SHIPPED = Path(__file__).parents[3] / "config" / "fleet.yaml"


def codes(loaded: LoadedFleet) -> list[tuple[str, str, str]]:
    return [(finding.severity.value, finding.code, finding.subject) for finding in loaded.findings]


def of_variable(load_text: LoadText, line: str, **variables: str) -> LoadedFleet:
    return load_text(HEAD + f"      {line}\n", environment=variables)


@pytest.mark.parametrize(
    "name",
    [
        "DB_PASSWORD",
        "PGPASSWORD",
        "db_passwd",
        "API_KEY",
        "OPENAI_APIKEY",
        "SECRET_KEY",
        "AWS_SECRET_ACCESS_KEY",
        "TLS_PRIVATE_KEY",
        "KEY_PASSPHRASE",
        "TOKEN",
        "TOKENS",
        "GOOGLE_CREDENTIALS",
    ],
)
def test_a_secret_that_is_written_down_is_a_warning_with_place_and_remedy(
    load_text: LoadText, name: str
) -> None:
    loaded = of_variable(load_text, f"{name}: {SECRET}")
    assert codes(loaded) == [("warning", "secret-literal", name)]
    (finding,) = loaded.findings
    assert (finding.line, finding.path) == (6, f"agents.A.environment.{name}")
    assert f"zejzl secrets set {name} --for agent:A" in finding.remedy
    assert f"secret:{name}" in finding.remedy
    assert loaded.raise_if_invalid().agents["A"].environment == {name: SECRET}


@pytest.mark.parametrize(
    "line",
    [
        "DB_PASSWORD: ''",
        "DB_PASSWORD:",
        "DB_PASSWORD: secret:DB_PASSWORD",
        "ANYTHING: secret:db.main-1",
        "DB_PASSWORD: ${DB_PASSWORD:-}",
        "USE_TOKEN: 'true'",
        "PASSWORD_LOGIN: off",
        "MAX_TOKENS: 4096",
        "TOKEN_LEEWAY: 15m",
        "TOKEN_CACHE: 64 MiB",
        "TLS_PRIVATE_KEY: /etc/zejzl/server.key",
        "SECRET: ./secrets/db",
        "DB_PASSWORD_FILE: db-password",
        "TOKEN_URL: https://login.example/token",
        "SECRET_NAME: database",
        "TOKENIZER: bert-base",
        "MONKEY: banana",
        "STORE: redis://store:6379/0",
        "STORE: redis://user:${STORE_PASSWORD:-}@store:6379/0",
    ],
)
def test_what_is_no_secret_is_left_alone(load_text: LoadText, line: str) -> None:
    assert of_variable(load_text, line).findings == ()


def test_a_variable_is_no_literal_whether_it_is_set_or_not(load_text: LoadText) -> None:
    assert of_variable(load_text, "DB_PASSWORD: ${DB_PASSWORD}", DB_PASSWORD=SECRET).findings == ()
    unset = of_variable(load_text, "DB_PASSWORD: ${DB_PASSWORD}")
    assert codes(unset) == [("warning", "unresolved-variable", "DB_PASSWORD")]


@pytest.mark.parametrize("variables", [{}, {"DB_PASSWORD": "other"}])
def test_the_default_of_a_variable_is_a_literal(load_text: LoadText, variables: dict[str, str]) -> None:
    loaded = of_variable(load_text, f"DB_PASSWORD: ${{DB_PASSWORD:-{SECRET}}}", **variables)
    assert codes(loaded) == [("warning", "secret-literal", "DB_PASSWORD")]


@pytest.mark.parametrize(
    "value", [f"redis://user:{SECRET}@store/0", "redis://:${X:-" + SECRET + "}@store/0", f"Bearer {SECRET}"]
)
def test_a_password_in_an_address_and_a_bearer_token_are_secrets_under_any_name(
    load_text: LoadText, value: str
) -> None:
    assert codes(of_variable(load_text, f"STORE: {value}")) == [("warning", "secret-literal", "STORE")]


@pytest.mark.parametrize(
    "value",
    [
        "'secret:'",
        "'secret: NAME'",
        "' secret:NAME'",
        "secret:1st",
        "secret:a/b",
        "secret:" + "a" * 129,
        "${secret:NAME}",
        "redis://:${secret:NAME}@store/0",
    ],
)
def test_a_reference_in_another_form_is_an_error(load_text: LoadText, value: str) -> None:
    loaded = of_variable(load_text, f"STORE: {value}")
    assert codes(loaded) == [("error", "secret-reference", "STORE")]
    assert loaded.errors[0].line == 6
    assert "secret:NAME as the whole value" in loaded.errors[0].remedy


def test_no_message_repeats_a_value(load_text: LoadText) -> None:
    values = [SECRET, f"secret:{SECRET}!", f"${{X:-{SECRET}}}", f"{SECRET}${{"]
    for value in values:
        loaded = of_variable(load_text, f"DB_PASSWORD: '{value}'")
        assert loaded.findings
        assert "hunter2" not in repr(loaded.findings)


def test_machines_old_files_and_agents_that_are_switched_off_are_looked_at_too(load_text: LoadText) -> None:
    loaded = load_text(
        f"""\
        schema: zejzl.fleet/1
        machines:
          mainpc:
            environment:
              API_KEY: {SECRET}
        agents:
          A: {{extras: {{enabled: false}}, environment: {{TOKEN: {SECRET}}}}}
        """
    )
    assert [(finding.subject, finding.line) for finding in loaded.warnings] == [("API_KEY", 5), ("TOKEN", 7)]
    assert "--for agent:NAME" in loaded.warnings[0].remedy
    old = load_text(
        f"""\
        global_settings:
          environment:
            LOG_LEVEL: INFO
            API_KEY: {SECRET}
        agent_groups:
          g:
            A:
              script_path: main_pc_code/a.py
              port: 5001
              env_vars:
                'OLD PASSWORD': {SECRET}
        """
    )
    assert [(finding.code, finding.line, finding.path) for finding in old.findings] == [
        ("secret-literal", 4, "global_settings.environment.API_KEY"),
        ("secret-literal", 11, "agent_groups.g.A.env_vars.OLD PASSWORD"),
    ]
    assert "secrets set NAME" in old.findings[1].remedy


def test_an_overlay_is_judged_where_it_stands(load_text: LoadText) -> None:
    loaded = load_text(
        HEAD + "      TOKEN: secret:TOKEN\n", overlay=f"agents: {{A: {{environment: {{TOKEN: {SECRET}}}}}}}"
    )
    assert [(Path(finding.file).name, finding.code) for finding in loaded.findings] == [
        ("overlay.yaml", "secret-literal")
    ]


def test_the_shipped_fleet_holds_no_secret() -> None:
    codes = {finding.code for finding in load_fleet([SHIPPED]).findings}
    assert codes.isdisjoint({"secret-literal", "secret-reference"})
