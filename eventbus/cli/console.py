"""Serving the console, and writing its users."""

import socket
import sys
from contextlib import suppress
from typing import Any

import click

from eventbus.cli.addresses import is_local
from eventbus.cli.target import plain_bus
from eventbus.errors import ConfigurationError, InvalidInput

_STOP_SECONDS = 2


@click.group(invoke_without_command=True)
@click.option("--host", default="127.0.0.1", show_default=True, help="The address to listen on; others need a login.")
@click.option("--port", type=click.IntRange(0, 65535), default=8321, show_default=True, help="0 takes any free port.")
@click.option(
    "--root-path", default="", metavar="PATH", help="The path under which a proxy shows it, such as /eventbus."
)
@click.pass_context
def console(ctx: click.Context, *, host: str, port: int, root_path: str) -> None:
    """Serve the web console on http://127.0.0.1:8321, until Ctrl-C.

    Any other address than this machine's needs a login: EVENTBUS_CONSOLE_USERS names a file of users, or
    EVENTBUS_CONSOLE_USER_HEADER the header in which a proxy names them.

    \b
    Examples:
      eventbus console
      eventbus console user alice --role operator >> console-users
      EVENTBUS_CONSOLE_USERS=console-users eventbus console --host 0.0.0.0
    """
    if ctx.invoked_subcommand is not None:
        return
    _require_extra()
    from eventbus.console import create_app  # noqa: PLC0415 - an extra, which nothing else of the command line needs
    from eventbus.console.access import LocalOnly  # noqa: PLC0415
    from eventbus.console.settings import load_console_settings  # noqa: PLC0415

    settings = load_console_settings()
    if isinstance(settings.access, LocalOnly) and not is_local(host):
        raise ConfigurationError(
            f"the console on {host} would be open to everyone who reaches it: "
            "set EVENTBUS_CONSOLE_USERS or EVENTBUS_CONSOLE_USER_HEADER, or leave --host out."
        )
    bus = plain_bus(ctx)
    _ = bus.broker  # made, so that what is missing or of no use is said before anything is served
    _serve(create_app(bus, settings=settings), host=host, port=port, root_path=_path(root_path))


@console.command()
@click.argument("name")
@click.option("--role", type=click.Choice(["viewer", "operator"]), default="viewer", show_default=True)
def user(*, name: str, role: str) -> None:
    """Print a line for NAME, for the console's file of users. It asks for a password, or reads it from a pipe.

    \b
    Example:
      eventbus console user alice --role operator >> console-users
    """
    _require_extra()
    from eventbus.console.access import Role  # noqa: PLC0415 - an extra
    from eventbus.console.users import user_line  # noqa: PLC0415

    if sys.stdin.isatty():
        password = click.prompt("Password", hide_input=True, confirmation_prompt=True, err=True)
    else:
        try:
            password = sys.stdin.readline().rstrip("\r\n")
        except UnicodeDecodeError:
            raise InvalidInput("the password on standard input is no text in UTF-8.") from None
    click.echo(user_line(name, Role(role), password))


def _serve(app: Any, *, host: str, port: int, root_path: str) -> None:
    import uvicorn  # noqa: PLC0415 - an extra

    from eventbus.console.server import Server  # noqa: PLC0415

    config = uvicorn.Config(
        app,
        log_level="warning",
        # Who asks is decided by the console, which believes no header but those of its proxies.
        proxy_headers=False,
        server_header=False,
        root_path=root_path,
        # What is asked of a server that does not answer.
        timeout_graceful_shutdown=_STOP_SECONDS,
    )
    with _listening(host, port) as listener:
        shown = f"[{host}]" if ":" in host else host
        click.echo(f"serving http://{shown}:{listener.getsockname()[1]}{root_path}/; Ctrl-C ends it.", err=True)
        # It has ended in order by the time that it raises what ended it.
        with suppress(KeyboardInterrupt):
            Server(config, stopping=app.state.end_streams).run(sockets=[listener])


def _listening(host: str, port: int) -> socket.socket:
    try:
        family = socket.getaddrinfo(host, port, type=socket.SOCK_STREAM)[0][0]
        return socket.create_server((host, port), family=family, backlog=128)
    except OSError as error:
        raise click.UsageError(f"{host}:{port} cannot be listened on: {error.strerror}.") from error


def _path(text: str) -> str:
    path = text.rstrip("/")
    if path and (
        not path.startswith("/") or path.startswith("//") or not path.isprintable() or set(path) & set(" \"'<>?#\\")
    ):
        raise InvalidInput(f"--root-path {text!r:.60} is no path such as /eventbus.")
    return path


def _require_extra() -> None:
    try:
        import itsdangerous  # noqa: F401, PLC0415
        import jinja2  # noqa: F401, PLC0415
        import starlette  # noqa: F401, PLC0415
        import uvicorn  # noqa: F401, PLC0415
    except ImportError as error:
        raise ConfigurationError(
            f"the console needs {error.name}: install it with pip install 'eventbus[console]'."
        ) from error
