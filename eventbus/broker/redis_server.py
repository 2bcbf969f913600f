"""A Redis server, and the one write that publishing makes to it, mostly by a script.

    messages, notices ─▶ EVALSHA ─┬─ done
                                  ├─ the server was restarted: NOSCRIPT ─▶ EVAL
                                  └─ it forbids scripts ─▶ pipelines, from then on

Short time limits and no retries: the caller has better things to do than to wait.
"""

from collections.abc import Callable, Mapping, Sequence
from hashlib import sha1
from typing import Any, TypeVar

import redis
from redis.exceptions import NoPermissionError, NoScriptError, ResponseError

from eventbus.broker.contract import TIMEOUT_SECONDS, Notice, unreachable
from eventbus.broker.redis_clients import redis_client
from eventbus.broker.redis_connections import Connections, Owed, packed
from eventbus.errors import BrokerUnreachable

Answer = TypeVar("Answer")

#: KEYS are queues. ARGV: the cap; for each queue the number of its messages, and these; then channels and texts in turn.
PUSH = """
local cap, at, pushed = tonumber(ARGV[1]), 2, 0
for i = 1, #KEYS do
  local given = tonumber(ARGV[at])
  local room = math.max(0, math.min(given, cap - redis.call('LLEN', KEYS[i])))
  for j = at + 1, at + room do redis.call('LPUSH', KEYS[i], ARGV[j]) end
  pushed, at = pushed + room, at + 1 + given
end
while at < #ARGV do
  redis.call('PUBLISH', ARGV[at], ARGV[at + 1])
  at = at + 2
end
return pushed
"""
# Redis names a script so; nothing depends on its being hard to forge.
PUSH_SHA = sha1(PUSH.encode(), usedforsecurity=False).hexdigest()


#: What a server answers that is there.
_REFUSALS = (redis.ResponseError, redis.AuthenticationError)


class RedisServer:
    """A pool of connections to one server. Safe to share between threads, and to use after a fork."""

    def __init__(self, url: str, setting: str = "EVENTBUS_BROKER_URL") -> None:
        self._url = url
        self._client = redis_client(
            url, setting, socket_timeout=TIMEOUT_SECONDS, socket_connect_timeout=TIMEOUT_SECONDS, retry=None
        )
        self._connections = Connections(self._client.connection_pool)
        self._scripts_are_allowed = True

    def push(self, messages: Mapping[str, Sequence[str]], notices: Sequence[Notice], *, cap: int) -> int:
        """LPUSH *messages* to their keys until each holds *cap*, and PUBLISH *notices*, in one round trip.

        Returns:
            How many were pushed.

        Raises:
            BrokerUnreachable: Some or all were not.
        """
        if not messages and not notices:
            return 0
        if self._scripts_are_allowed:
            try:
                return int(_push_by_script(self._connections, messages, notices, cap))
            except _ScriptsForbidden:
                self._scripts_are_allowed = False
            except (redis.RedisError, OSError) as error:
                raise self._unreachable(error) from error
        return self.call(lambda client: _push_by_pipeline(client, messages, notices, cap))

    def post(self, commands: bytes, owed: Owed, *, is_script: bool = False) -> bool:
        """Send packed *commands* without waiting until they are done.

        Args:
            is_script: They are an EVALSHA of `PUSH`.

        Returns:
            False if the server does not know the script, or forbids it: nothing was sent.

        Raises:
            BrokerUnreachable: They were not sent whole, or some before were refused.
        """
        if is_script and not self._scripts_are_allowed:
            return False
        try:
            self._connections.post(commands, owed)
        except (redis.RedisError, OSError) as error:
            if isinstance(error, NoScriptError) or _forbids_scripts(error):
                return False
            raise self._unreachable(error) from error
        return True

    def call(self, action: Callable[[redis.Redis], Answer]) -> Answer:
        """What *action* returns for the client.

        Raises:
            BrokerUnreachable: The server did not answer, or refused.
        """
        try:
            return action(self._client)
        except (redis.RedisError, OSError) as error:
            raise self._unreachable(error) from error

    def _unreachable(self, error: Exception) -> BrokerUnreachable:
        return unreachable(self._url, error, has_refused=isinstance(error, _REFUSALS))


class RedisListeners:
    """Listeners on a Redis that is not the broker."""

    def __init__(self, url: str) -> None:
        self._server = RedisServer(url, "EVENTBUS_REALTIME_URL")

    def tell(self, notices: Sequence[Notice]) -> None:
        """PUBLISH *notices*."""
        self._server.push({}, notices, cap=0)

    def post(self, notices: Sequence[Notice]) -> None:
        """PUBLISH *notices* without waiting for an answer."""
        commands = b"".join([packed(("PUBLISH", each.channel, each.text)) for each in notices])
        if not self._server.post(commands, Owed(len(notices), _ignored)):
            self.tell(notices)

    def ping(self) -> None:
        """Ask for an answer."""
        self._server.call(lambda client: client.ping())


def _ignored(_listeners: Sequence[Any]) -> None:
    """How many have heard is nothing to a publisher."""


class _ScriptsForbidden(Exception):
    """An access list, or a renamed command, keeps scripts away."""


def _push_by_script(
    connections: Connections, messages: Mapping[str, Sequence[str]], notices: Sequence[Notice], cap: int
) -> Any:
    arguments: list[Any] = [len(messages), *messages, cap]
    for texts in messages.values():
        arguments += (len(texts), *texts)
    for notice in notices:
        arguments += (notice.channel, notice.text)
    try:
        try:
            return connections.execute("EVALSHA", PUSH_SHA, *arguments)
        except NoScriptError:
            return connections.execute("EVAL", PUSH, *arguments)
    except ResponseError as error:
        if _forbids_scripts(error):
            raise _ScriptsForbidden from error
        raise


def _forbids_scripts(error: Exception) -> bool:
    text = str(error).lower()
    is_forbidden = isinstance(error, NoPermissionError) or text.startswith("unknown command")
    # Another command may be forbidden as well.
    return isinstance(error, ResponseError) and is_forbidden and "eval" in text


def _push_by_pipeline(
    client: redis.Redis, messages: Mapping[str, Sequence[str]], notices: Sequence[Notice], cap: int
) -> int:
    """The same in two round trips; of several writers at once, each may fill a queue up to the cap."""
    with client.pipeline(transaction=False) as lengths:
        for key in messages:
            lengths.llen(key)
        held = lengths.execute()
    pushed = 0
    with client.pipeline(transaction=False) as writes:
        for (key, texts), length in zip(messages.items(), held, strict=True):
            chosen = texts[: max(0, cap - length)]
            pushed += len(chosen)
            if chosen:
                writes.lpush(key, *chosen)
        for notice in notices:
            writes.publish(notice.channel, notice.text)
        writes.execute()
    return pushed
