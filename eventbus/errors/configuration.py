"""Errors of a setting that is missing or wrong."""

from eventbus.errors.root import EventBusError


class ConfigurationError(EventBusError):
    """A setting is missing or cannot be used."""


class MissingSetting(ConfigurationError):
    """A setting that has no default was not given."""

    def __init__(self, name: str, meaning: str) -> None:
        self.name = name
        super().__init__(f"{name} is not set: it names {meaning}; set it in the environment or pass it to EventBus().")


class InvalidSetting(ConfigurationError):
    """A setting has a value that cannot be used."""

    def __init__(self, name: str, value: str, expected: str) -> None:
        self.name, self.value = name, value
        super().__init__(f"{name} is {value!r}, but must be {expected}.")


class RealtimeUnavailable(ConfigurationError):
    """Nobody can listen in real time, because nothing is PUBLISHed."""

    def __init__(self, reason: str) -> None:
        self.reason = reason
        super().__init__(f"nothing is PUBLISHed that could be listened to: {reason}.")


class BinaryNotFound(ConfigurationError):
    """No program for an embedded server was found in any of the places that are looked at."""
