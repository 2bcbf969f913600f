"""Groups: who is subscribed to what, how far behind each group is, and who does its work."""

from starlette.responses import Response

from eventbus.console.page import Page
from eventbus.console.view import View

page = Page("Groups", "/groups")


@page.get("/groups", budget=2)
def list_groups(view: View) -> Response:
    return view.show("groups.html", groups=view.bus.groups())


@page.get("/groups/{group}", budget=6)
def show(view: View) -> Response:
    return view.show("group.html", found=view.bus.group_details(view.path["group"]))


@page.post("/groups/{group}/pause")
def pause(view: View) -> Response:
    group = view.path["group"]
    if not view.is_confirmed:
        sentence = (
            f"No worker takes deliveries of {group} any more; what runs ends, and events go on being recorded for it."
        )
        return view.confirm(f"Pause {group}?", sentence, button="Pause", back=f"/groups/{group}")
    changed = view.bus.pause_group(group)
    return view.redirect(f"/groups/{group}", notice=f"{group} is paused." if changed else f"{group} was paused before.")


@page.post("/groups/{group}/resume")
def resume(view: View) -> Response:
    group = view.path["group"]
    changed = view.bus.resume_group(group)
    notice = f"{group} goes on within two seconds." if changed else f"{group} was not paused."
    return view.redirect(f"/groups/{group}", notice=notice)
