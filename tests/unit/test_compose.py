"""docker-compose.yml and what goes with it: valid, closed to strangers, without secrets."""

import json
import re
import subprocess
from typing import Any

import jsonschema
import pytest

from eventbus.settings import load_settings
from tests.support.compose import NotSet, parsed, variables_in
from tests.support.workers import ROOT

TEXT = (ROOT / "docker-compose.yml").read_text()
SAMPLE = variables_in(ROOT / ".env.sample")
PROJECT = parsed(TEXT, SAMPLE)
SERVICES: dict[str, Any] = PROJECT["services"]
#: Those that end by themselves.
JOBS = {"migrate", "publisher"}


def test_it_is_valid() -> None:
    """By the schema of the Compose Specification, which knows every key."""
    schema = json.loads((ROOT / "tests/fixtures/compose-spec.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)

    assert [error.message for error in validator.iter_errors(PROJECT)] == []
    # A schema that lets everything pass would prove nothing.
    broken = {**PROJECT, "services": {**SERVICES, "redis": {**SERVICES["redis"], "comand": "redis-server"}}}
    assert not validator.is_valid(broken)


def test_it_has_a_service_for_each_group_and_what_they_need() -> None:
    """Whoever adds a sample service adds it here."""
    groups = set(re.findall(r'group="(\w+)"', "".join(path.read_text() for path in (ROOT / "workers").glob("*.py"))))

    assert set(SERVICES) == {"postgres", "redis", "migrate", "console", "flower", "publisher", *groups}
    for group in groups:
        assert f"-Q eventbus.{group} " in SERVICES[group]["command"]
        assert " -E " in SERVICES[group]["command"]
        assert SERVICES[group]["healthcheck"]["test"] == ["CMD", "eventbus", "health", "worker", group, "--here"]


def test_ports_are_open_on_this_machine_only() -> None:
    """Docker opens ports past a firewall unless an address is named."""
    ports = [port for service in SERVICES.values() for port in service.get("ports", [])]

    assert len(ports) == 4
    assert all(port.startswith("127.0.0.1:") for port in ports)


def test_every_service_comes_back_and_is_looked_after() -> None:
    """Servers and workers always, jobs until they succeeded; whatever stays has a health check."""
    assert {name: service["restart"] for name, service in SERVICES.items()} == {
        name: "on-failure" if name in JOBS else "unless-stopped" for name in SERVICES
    }
    assert {name for name, service in SERVICES.items() if "healthcheck" not in service} == {"migrate"}


def test_what_depends_on_what() -> None:
    """Nobody works before the tables and subscriptions are there, and the broker is."""
    for name in set(SERVICES) - {"postgres", "redis", "migrate"}:
        assert SERVICES[name]["depends_on"] == {
            "migrate": {"condition": "service_completed_successfully"},
            "redis": {"condition": "service_healthy"},
        }
    assert SERVICES["migrate"]["depends_on"] == {"postgres": {"condition": "service_healthy"}}


@pytest.mark.parametrize("name", ["POSTGRES_PASSWORD", "REDIS_PASSWORD", "FLOWER_BASIC_AUTH", "CONSOLE_PASSWORD"])
def test_secrets_are_given_or_nothing_starts(name: str) -> None:
    """None has a default, and the sample's names are the file's."""
    with pytest.raises(NotSet, match=name):
        parsed(TEXT, {**SAMPLE, name: ""})


def test_the_sample_names_what_is_used_and_git_ignores_the_real_one() -> None:
    """A variable with a default need not be in it."""
    used = set(re.findall(r"\$\{(\w+)", TEXT))

    assert set(SAMPLE) <= used
    assert used - set(SAMPLE) == {"POSTGRES_PORT", "REDIS_PORT", "FLOWER_PORT", "CONSOLE_PORT"}
    assert ".env" in (ROOT / ".gitignore").read_text().split()
    assert ".env" in (ROOT / ".dockerignore").read_text().split()
    tracked = subprocess.run(["git", "ls-files", ".env"], cwd=ROOT, capture_output=True, text=True, check=False).stdout
    assert tracked == ""


def test_the_services_find_each_other() -> None:
    """The URLs name the services of the file, with the passwords that these were given."""
    postgres = SERVICES["postgres"]["environment"]

    for name in set(SERVICES) - {"postgres", "redis"}:
        settings = load_settings({}, SERVICES[name]["environment"])
        assert settings.database_url == (
            f"postgresql+psycopg2://{postgres['POSTGRES_USER']}:{SAMPLE['POSTGRES_PASSWORD']}@postgres:5432/"
            f"{postgres['POSTGRES_DB']}"
        )
        assert settings.broker_url == f"redis://:{SAMPLE['REDIS_PASSWORD']}@redis:6379/0"


def test_the_image_has_what_the_commands_need() -> None:
    """Each COPY names something that is there, and the services' modules are among it."""
    copied = [line.split()[1:-1] for line in (ROOT / "Dockerfile").read_text().splitlines() if line.startswith("COPY")]
    names = {name for line in copied for name in line}

    assert {name for name in names if not (ROOT / name).exists()} == set()
    assert {"eventbus", "workers", "celeryconfig.py", "flowerconfig.py", "pyproject.toml"} <= names
