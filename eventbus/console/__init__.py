"""The console: the bus in a browser, from the read model that the command line has; it only presents.

    request ─▶ protection (host, headers) ─▶ gate (who, role, CSRF) ─▶ a page's function ─▶ bus ─▶ template
                                                                     └─ any error of ours ─▶ a page that says what to do

`eventbus console` serves it on 127.0.0.1; `create_app` mounts it in any ASGI app. Nothing is loaded from anywhere else.
"""

from eventbus.console.access import Role, User
from eventbus.console.app import create_app

__all__ = ["Role", "User", "create_app"]
