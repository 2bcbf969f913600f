"""docker-compose.yml as Docker would read it: parsed, with the variables of an environment file filled in."""

import re
import shlex
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

_VARIABLE = re.compile(r"\$\{(?P<name>\w+)(?:(?P<kind>:-|:\?)(?P<rest>[^}]*))?\}")


class NotSet(Exception):
    """A variable that must be given is not."""


def parsed(text: str, variables: Mapping[str, str]) -> Any:
    """The file in *text*, with *variables* in their places.

    Raises:
        NotSet: One that must be given is not; nothing in the file stands for the empty text by accident.
    """

    def value(found: re.Match[str]) -> str:
        given = variables.get(found["name"])
        if given:
            return given
        if found["kind"] == ":-":
            return found["rest"]
        raise NotSet(found["name"], found["rest"])

    return _filled(yaml.safe_load(text), value)


def _filled(item: Any, value: Any) -> Any:
    if isinstance(item, dict):
        return {key: _filled(inner, value) for key, inner in item.items()}
    if isinstance(item, list):
        return [_filled(inner, value) for inner in item]
    return _VARIABLE.sub(value, item) if isinstance(item, str) else item


def variables_in(path: Path) -> dict[str, str]:
    """The variables of an environment file."""
    lines = [line.strip() for line in path.read_text().splitlines()]
    pairs = [line.partition("=") for line in lines if line and not line.startswith("#")]
    return {name: value for name, _, value in pairs}


def words(command: str | list[str]) -> list[str]:
    """A command or health check as the program and its arguments."""
    if isinstance(command, str):
        return shlex.split(command)
    return command[1:] if command[0] == "CMD" else command
