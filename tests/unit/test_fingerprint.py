"""Fingerprints: equal for failures that one fix mends, whatever the numbers, lines, folders and libraries; else different."""

import sysconfig
import traceback
from pathlib import Path
from types import TracebackType

import pytest
from hypothesis import given
from hypothesis import strategies as st

import eventbus
from eventbus.failure import find_cause, from_death, from_exception, from_summary
from eventbus.fingerprint import Fingerprint, take_fingerprint

HANDLER = ("/srv/shop/orders.py", "on_created")
PACKAGE = Path(eventbus.__file__).parent
STANDARD = Path(sysconfig.get_path("stdlib"))
LIBRARIES = STANDARD / "site-packages"


def taken(message: str = "no", *, frames: list[tuple[str, str]] | None = None, type: str = "ValueError") -> Fingerprint:
    """The fingerprint of a failure in a handler."""
    return take_fingerprint(type, message, frames=frames or [HANDLER])


@pytest.mark.parametrize(
    ("message", "gist"),
    [
        ("", ""),
        ("order 17 not found", "order ? not found"),
        ("order ord_8F3kx9 not found", "order ? not found"),
        ("0198c2a1-aaaa-7000-8000-000000000001 failed", "? failed"),
        ("deadbeef-beef-beef-beef-deadbeefdead failed", "? failed"),
        ("commit deadbeefdeadbeef", "commit ?"),
        ("<object at 0x7f01>", "<object at ?>"),
        ("took 1.5 s", "took ? s"),
        ("at 2026-11-25T18:20:29.5+00:00", "at ?"),
        ("no such key 'a b'", "no such key ?"),
        ('user "a" and `b`', "user ? and ?"),
        ("can't be, isn't it", "can't be, isn't it"),
        ("ids [1, 2, 3] are gone", "ids [?] are gone"),
        ("{'id': 17, 'name': 'x'}", "{?}"),
        ("first line 1\nsecond", "first line ?"),
        ("a facade", "a facade"),
        ("x" * 2000, "x" * 500),
    ],
)
def test_particulars_are_left_out_of_the_message(message: str, gist: str) -> None:
    """Numbers, ids and quoted values, not words."""
    assert taken(message).gist == gist


def test_type_message_and_place_tell_causes_apart() -> None:
    """What needs a fix of its own is not hidden among others."""
    other_place = [("/srv/shop/orders.py", "on_paid")]
    found = {
        taken().value,
        taken("never").value,
        taken(type="KeyError").value,
        taken(frames=other_place).value,
        taken(frames=[HANDLER, ("/srv/shop/stock.py", "reserve")]).value,
        taken(frames=[("/srv/shop/payments.py", "on_created")]).value,
    }

    assert len(found) == 6
    assert all(len(value) == 16 and set(value) <= set("0123456789abcdef") for value in found)


@pytest.mark.parametrize(
    "frames",
    [
        [("/home/ann/shop/orders.py", "on_created")],
        [("C:\\shop\\orders.py", "on_created")],
        [HANDLER, (str(STANDARD / "json" / "decoder.py"), "decode")],
        [HANDLER, (str(PACKAGE / "lifecycle" / "publishing.py"), "publish")],
        [HANDLER, (str(LIBRARIES / "sqlalchemy" / "engine" / "base.py"), "execute")],
        [HANDLER, ("/usr/lib/python3/dist-packages/celery/app/task.py", "retry")],
        [HANDLER, ("<frozen importlib._bootstrap>", "_find_and_load")],
        [HANDLER, HANDLER, HANDLER],
    ],
    ids=["folder", "windows", "python", "eventbus", "library", "celery", "frozen", "recursion"],
)
def test_folders_and_frames_of_others_do_not_matter(frames: list[tuple[str, str]]) -> None:
    """A fingerprint outlives a deploy, and a new version of a library."""
    assert taken(frames=frames) == taken()


def test_code_that_is_installed_is_told_from_libraries() -> None:
    """Services are deployed as packages: what lies beside the handler is its own."""
    handler, helper = (str(LIBRARIES / "shop" / name) for name in ("orders.py", "stock.py"))
    library = str(LIBRARIES / "requests" / "api.py")

    found = taken(frames=[(handler, "on_created"), (helper, "reserve"), (library, "get")])

    assert found.place == "stock.py:reserve < orders.py:on_created"


def test_the_innermost_frames_count() -> None:
    """However deep it was called: three of them."""
    deep = [HANDLER, *((f"/srv/shop/{name}.py", name) for name in "abcd")]

    assert taken(frames=deep).place == "d.py:d < c.py:c < b.py:b"
    assert taken(frames=deep) == taken(frames=deep[1:])


def test_a_time_limit_is_the_handlers_wherever_it_strikes() -> None:
    """A slow handler is one cause."""
    name = "eventbus.errors.HandlerTimeout"
    found = [taken(type=name, frames=[HANDLER, (f"/srv/shop/{place}.py", place)]) for place in "ab"]

    assert found[0] == found[1]
    assert found[0].place == "orders.py:on_created"


def test_deaths_are_told_apart_by_their_group() -> None:
    """There are no frames to tell; the number of the run does not matter."""
    first, again = (from_death(f"killed by SIGKILL (run {run})", group="stock") for run in (1, 2))
    other, summed = from_death("killed by SIGKILL (run 1)", group="mail"), from_summary("ValueError: no", group="mail")

    assert first.fingerprint == again.fingerprint != other.fingerprint
    assert (other.cause.place, summed.cause.place) == ("mail", "mail")


def raised() -> Exception:
    """An error with a cause of its own, from some depth."""
    try:
        try:
            int("x")
        except ValueError as error:
            raise KeyError("order 17") from error
    except KeyError as error:
        return error


def test_what_was_kept_tells_the_same_cause() -> None:
    """So that letters of older code find their place."""
    failure = from_exception(raised())

    kept = find_cause(failure.error_type, failure.message, failure.traceback, group="stock")

    assert kept == failure.cause
    assert kept.place == "test_fingerprint.py:raised"
    assert find_cause("E", "m", "no traceback", group="stock").place == "stock"


@given(st.text(max_size=200), st.lists(st.tuples(st.text(max_size=20), st.text(max_size=20)), max_size=4))
def test_anything_has_a_fingerprint(message: str, frames: list[tuple[str, str]]) -> None:
    """And the same one each time."""
    found = take_fingerprint("E", message, frames=frames)

    assert found == take_fingerprint("E", message, frames=frames)
    assert len(found.gist) <= 500


def test_line_numbers_do_not_matter() -> None:
    """The same code a line further down."""
    found = []
    for blank in ("", "\n\n"):
        namespace: dict[str, object] = {}
        exec(compile(f"{blank}def handle():\n    raise ValueError('x')", "/srv/shop/handlers.py", "exec"), namespace)
        with pytest.raises(ValueError, match="x") as error:
            namespace["handle"]()  # type: ignore[operator]
        # From the handler inward, as the bus keeps it.
        inner: TracebackType | None = error.value.__traceback__
        assert inner is not None
        found.append(from_exception(error.value.with_traceback(inner.tb_next)))

    assert found[0].fingerprint == found[1].fingerprint
    assert found[0].cause.place == "handlers.py:handle"
    assert traceback.extract_tb(inner)
