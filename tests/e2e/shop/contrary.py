"""The shop in an app whose other tasks want everything otherwise."""

from typing import Any

from tests.e2e.shop.app import app, bus

__all__ = ["app", "bus"]


def on_failure(*_: Any) -> None:
    """What the app's other tasks do; it is not the groups'."""
    print("the app's own on_failure")  # noqa: T201 - the test looks for it in the worker's log


app.conf.update(
    accept_content=["pickle"],
    task_serializer="pickle",
    task_annotations={
        "*": {
            "rate_limit": "2/m",
            "max_retries": 0,
            "autoretry_for": (),
            "on_failure": on_failure,
            "serializer": "pickle",
            "throws": (Exception,),
        }
    },
)
