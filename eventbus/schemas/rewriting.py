"""Declared changes of data, from which the way back follows: rename, default, drop, wrap.

    step = compose(rename("total", "amount"), default("channel", "web"))
    bus.upcaster("order.created", 1, 2)(step)
    bus.downcaster("order.created", 2, 1, lossy=step.inverse.lossy)(step.inverse)

Paths are wire paths into nested objects (``customer.name``). A change whose object is not there does nothing.
"""

from collections.abc import Callable
from copy import deepcopy
from dataclasses import dataclass
from typing import Any

Data = dict[str, Any]


@dataclass(frozen=True, kw_only=True)
class Rewrite:
    """A change of data with its way back. Calling it gives the changed data; what it is given stays as it was."""

    text: str
    apply: Callable[[Data], None]
    undo: Callable[[Data], None]
    #: Wire paths whose values the change loses, and those that its way back loses.
    lossy: tuple[str, ...] = ()
    undo_lossy: tuple[str, ...] = ()

    def __call__(self, data: Data) -> Data:
        """The changed data."""
        changed = deepcopy(data)
        self.apply(changed)
        return changed

    @property
    def inverse(self) -> "Rewrite":
        """The way back."""
        return Rewrite(
            text=f"inverse of {self.text}",
            apply=self.undo,
            undo=self.apply,
            lossy=self.undo_lossy,
            undo_lossy=self.lossy,
        )


def rename(old: str, new: str) -> Rewrite:
    """Move the value at *old* to *new*, both full wire paths; loses nothing either way."""
    return Rewrite(text=f"rename {old} to {new}", apply=_mover(old, new), undo=_mover(new, old))


def default(path: str, value: Any) -> Rewrite:
    """Put *value* where nothing is; the way back drops the field, whatever it holds."""

    def fill(data: Data) -> None:
        parent, key = _parent(data, path)
        if parent is not None and key not in parent:
            parent[key] = deepcopy(value)

    return Rewrite(text=f"default {path}", apply=fill, undo=lambda data: _remove(data, path), undo_lossy=(path,))


def drop(path: str, *, restore: Any = None) -> Rewrite:
    """Take the field away; the way back puts *restore* there, or nothing if it is None."""

    def put_back(data: Data) -> None:
        parent, key = _parent(data, path)
        if restore is not None and parent is not None:
            parent.setdefault(key, deepcopy(restore))

    return Rewrite(text=f"drop {path}", apply=lambda data: _remove(data, path), undo=put_back, lossy=(path,))


def wrap(path: str, key: str) -> Rewrite:
    """Put the value at *path* into an object under *key*: 5 becomes {"amount": 5}; the way back takes it out."""

    def put_in(data: Data) -> None:
        parent, name = _parent(data, path)
        if parent is not None and name in parent:
            parent[name] = {key: parent[name]}

    def take_out(data: Data) -> None:
        parent, name = _parent(data, path)
        if parent is not None and isinstance(parent.get(name), dict) and key in parent[name]:
            parent[name] = parent[name][key]

    return Rewrite(text=f"wrap {path} in {key}", apply=put_in, undo=take_out)


def compose(*rewrites: Rewrite) -> Rewrite:
    """One change after the other; the way back goes through them from the last."""

    def apply(data: Data) -> None:
        for each in rewrites:
            each.apply(data)

    def undo(data: Data) -> None:
        for each in reversed(rewrites):
            each.undo(data)

    return Rewrite(
        text=", ".join(each.text for each in rewrites),
        apply=apply,
        undo=undo,
        lossy=tuple(path for each in rewrites for path in each.lossy),
        undo_lossy=tuple(path for each in rewrites for path in each.undo_lossy),
    )


def _parent(data: Data, path: str) -> tuple[Data | None, str]:
    """The object that holds the last key of *path*, None if it is not there."""
    *outer, last = path.split(".")
    node: Any = data
    for key in outer:
        node = node.get(key) if isinstance(node, dict) else None
    return (node if isinstance(node, dict) else None), last


def _remove(data: Data, path: str) -> None:
    parent, key = _parent(data, path)
    if parent is not None:
        parent.pop(key, None)


def _mover(old: str, new: str) -> Callable[[Data], None]:
    def move(data: Data) -> None:
        source, old_key = _parent(data, old)
        target, new_key = _parent(data, new)
        if source is not None and target is not None and old_key in source:
            target[new_key] = source.pop(old_key)

    return move
