"""Changing dead letters: what is meant is counted and frozen, confirmed, and exactly that is changed.

selection or filter ─▶ freeze ─▶ how many? ─▶ confirmed ─▶ those of them that are still open
                                    └─ a few first ─▶ trial ─▶ all done ─▶ the others
"""

import threading
from collections.abc import Callable

from starlette.responses import Response

from eventbus.console.pages.dead import page as page
from eventbus.console.pages.dead_selection import back_of, first_of, fixed, freeze, freeze_again, ids_of, meaning
from eventbus.console.pages.dead_standstill import what_stands_still
from eventbus.console.pages.dead_trials import try_first
from eventbus.console.view import View
from eventbus.errors import InvalidInput
from eventbus.lifecycle.resolving import Frozen, Progress, check_reason

#: More than these are changed in the background.
_AT_ONCE = 2000


@page.post("/dead/retry")
def retry(view: View) -> Response:
    """Run deliveries again, all at once or a few first."""
    if not view.is_confirmed:
        frozen = freeze(view, view.form)
        first = first_of(view.form)
        sentence = "Their deliveries run again as if new; dead letters that arrive later are not touched."
        if first is not None and frozen.count > first:
            sentence += f" {first} of them are retried first, the others only after all of these are done."
        sentence += what_stands_still(view, frozen)
        return _ask(view, frozen, "Retry", sentence)
    frozen = freeze_again(view, view.form)
    first = first_of(view.form)
    if first is not None and frozen.count > first:
        return try_first(view, frozen, first)
    return _carried_out(view, frozen, lambda stop: view.bus.resolving.retry(frozen, stop=stop), "retried")


@page.post("/dead/discard")
def discard(view: View) -> Response:
    """Give letters up for good, for a reason."""
    reason = view.form.text("reason", longest=4000)
    check_reason(reason or "")
    assert reason is not None
    if not view.is_confirmed:
        frozen = freeze(view, view.form)
        return _ask(view, frozen, "Discard", f"Their deliveries are cancelled; the reason is stored: {reason}")
    frozen = freeze_again(view, view.form)

    def work(stop: threading.Event) -> Progress:
        return view.bus.resolving.discard(frozen, reason=reason, stop=stop)

    return _carried_out(view, frozen, work, "discarded")


@page.post("/dead/restore")
def restore(view: View) -> Response:
    """Open discarded letters again."""
    ids = ids_of(view.form, "id")
    if not ids:
        raise InvalidInput("tick the dead letters to restore.")
    back = back_of(view.form)
    if not view.is_confirmed:
        return view.confirm(
            f"Restore {len(ids):,} dead letters?",
            "The discarded ones among them become open again.",
            button="Restore",
            back=back.path,
            back_query=back.query,
        )
    count = view.bus.restore_dead_letters(ids)
    left = len(ids) - count
    rest = f" {left} could not be restored: they are not discarded, or were replayed since." if left else ""
    return view.redirect(back.path, notice=f"{count} dead letters restored.{rest}", **back.query)


@page.post("/dead/{letter_id:number}/note")
def note(view: View) -> Response:
    """Keep a note with a letter."""
    id = view.path["letter_id"]
    view.bus.note_dead_letter(id, view.form.text("note", longest=4000) or "")
    return view.redirect(f"/dead/{id}", notice="The note is saved.")


@page.post("/dead/causes/{fingerprint}/acknowledge")
def acknowledge(view: View) -> Response:
    """State that somebody looks after a cause."""
    fingerprint = view.path["fingerprint"]
    view.bus.acknowledge_fingerprint(fingerprint, note=view.form.text("note", longest=4000))
    return view.redirect(f"/dead/causes/{fingerprint}", notice="Acknowledged.")


@page.post("/dead/causes/{fingerprint}/resolve")
def resolve(view: View) -> Response:
    """State that a cause is mended."""
    fingerprint = view.path["fingerprint"]
    view.bus.resolve_fingerprint(fingerprint, note=view.form.text("note", longest=4000))
    return view.redirect(
        f"/dead/causes/{fingerprint}", notice="Resolved: the next dead letter of this cause means that it has returned."
    )


def _ask(view: View, frozen: Frozen, what: str, sentence: str) -> Response:
    back = back_of(view.form)
    return view.confirm(
        f"{what} {frozen.count:,} dead letters?",
        f"{meaning(frozen)} {sentence}",
        button=what,
        fields=fixed(frozen),
        back=back.path,
        back_query=back.query,
    )


def _carried_out(view: View, frozen: Frozen, work: Callable[[threading.Event], Progress], done: str) -> Response:
    back = back_of(view.form)
    if frozen.count > _AT_ONCE:
        view.site.background.start(work, name=f"dead letters {done}", who=view.user.name)
        notice = f"{frozen.count:,} dead letters are being {done} in the background: the audit shows the progress."
        return view.redirect(back.path, notice=notice, **back.query)
    progress = work(threading.Event())
    others = frozen.count - progress.changed - progress.left
    rest = f" {others:,} were no longer open." if others else ""
    if progress.left:
        rest += f" {progress.left:,} are open still: no subscription takes their types now, or somebody else held them."
    return view.redirect(back.path, notice=f"{progress.changed:,} dead letters {done}.{rest}", **back.query)
