"""Edits of described schemas: the changes that people make."""

import random
from collections.abc import Mapping
from dataclasses import replace

from tests.schema_specs import CHECKS_OF, CONTAINERS, KINDS, FieldSpec

Specs = Mapping[str, FieldSpec]


def random_field(rng: random.Random, depth: int = 0) -> FieldSpec:
    """Any field."""
    kind = rng.choice([*KINDS, *(CONTAINERS * 2 if depth < 2 else ())])
    spec = FieldSpec(kind=kind, required=rng.random() < 0.5, allow_none=rng.random() < 0.25, default=rng.random() < 0.2)
    if kind in ("list", "dict"):
        spec = replace(spec, inner={"x": random_field(rng, depth + 1)})
    elif kind in CONTAINERS:
        spec = replace(spec, inner={name: random_field(rng, depth + 1) for name in "xy"[: rng.choice((1, 2))]})
    if kind in CHECKS_OF and rng.random() < 0.5:
        spec = replace(spec, checks=(rng.choice(CHECKS_OF[kind]),), default=False)
    return spec


def random_specs(rng: random.Random) -> Specs:
    """Any small schema."""
    return {name: random_field(rng) for name in "abc"[: rng.choice((1, 2, 3))]}


def edit(specs: Specs, rng: random.Random) -> Specs:
    """*specs* with one edit somewhere."""
    what = rng.choice(("add", "drop", "change", "change", "change", "change", "change", "rename"))
    name = rng.choice(sorted(specs))
    rest = {key: spec for key, spec in specs.items() if key != name}
    if what == "add":
        return {**specs, "new": random_field(rng)}
    if what == "drop":
        return rest
    if what == "rename":
        return {**rest, "renamed": specs[name]}
    return {**rest, name: edit_field(specs[name], rng)}


def edit_field(spec: FieldSpec, rng: random.Random) -> FieldSpec:
    """*spec* with one edit, often of what is inside."""
    if spec.inner and rng.random() < 0.6:
        if spec.kind in ("list", "dict"):
            return replace(spec, inner={"x": edit_field(spec.inner["x"], rng)})
        edited = edit(spec.inner, rng)
        return replace(spec, inner=edited) if edited else spec
    what = rng.choice(("required", "none", "default", "kind", "kind", "check", "check"))
    if what == "required":
        return replace(spec, required=not spec.required)
    if what == "none":
        return replace(spec, allow_none=not spec.allow_none)
    if what == "default":
        return replace(spec, default=not spec.default, checks=())
    if what == "check" and spec.kind in CHECKS_OF:
        checks = () if spec.checks and rng.random() < 0.3 else (rng.choice(CHECKS_OF[spec.kind]),)
        return replace(spec, checks=checks, default=False)
    return replace(random_field(rng, 1), required=spec.required, allow_none=spec.allow_none)
