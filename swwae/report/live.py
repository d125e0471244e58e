"""Serves a report on this machine alone, and what has changed of it since.

There are two addresses: / (the page) and /data.json. A request whose Host is not this
server's is refused: another site's page whose name was made to lead here would send it.
"""

import json
import time
from collections.abc import Callable
from contextlib import suppress
from errno import EACCES, EADDRINUSE
from http import HTTPStatus
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from threading import Lock
from typing import Any

from generator.errors import UserError

ADDRESS = "127.0.0.1"

LEAST_AGE = 1.0
"""Seconds for which data are not computed again."""

LARGEST_SHARE = 0.05
"""Of the time that computing the data may take while a stage trains beside it."""

PATIENCE = 2.0
"""Seconds for which a connection may stay silent."""


class Server(ThreadingHTTPServer):
    """Holds a port of this machine; requests wait until `serve` answers them.

    port: 0 for any that is free. Raises UserError where the port cannot be had.
    """

    daemon_threads = False  # a request that is being answered at the end is answered

    def __init__(self, port: int) -> None:
        try:
            super().__init__((ADDRESS, port), BaseHTTPRequestHandler)
        except OSError as error:
            raise UserError(_refusal(port, error)) from error


class Cached:
    """Returns what a function returned last, until that is old; then calls it again.

    Raises what the function raises. Safe for several threads.
    """

    def __init__(self, compute: Callable[[], Any]) -> None:
        self._compute = compute
        self._lock = Lock()
        self._value: Any = None
        self._until = 0.0

    def __call__(self) -> Any:
        with self._lock:
            start = time.monotonic()
            if start >= self._until:
                self._value = self._compute()
                end = time.monotonic()
                self._until = end + max(LEAST_AGE, (end - start) / LARGEST_SHARE)
            return self._value


def serve(
    server: Server,
    page: Callable[[], str],
    data: Callable[[], dict[str, Any]],
    ready: Callable[[str], None],
) -> None:
    """Serves until it is interrupted, and gives the port back.

    page: returns the page's HTML. data: returns what /data.json holds. ready: is called
    with the address. What page or data raise becomes an answer.
    """
    server.RequestHandlerClass = _handler(page, Cached(data))
    with server:
        ready(f"http://{ADDRESS}:{server.server_port}/")
        with suppress(KeyboardInterrupt):
            server.serve_forever()


def _refusal(port: int, error: OSError) -> str:
    """Returns why a port cannot be had, as a sentence."""
    reason = {
        EADDRINUSE: "another program uses it",
        EACCES: "only root may use it",
    }.get(error.errno, error.strerror)
    return (
        f"port {port} cannot be had: {reason}; choose another one with --port N, or"
        " one that is free with --port 0."
    )


def _text_or_reason(render: Callable[[], str]) -> tuple[HTTPStatus, str]:
    """Returns a text, or a sentence on why there is none; the status says which."""
    try:
        return HTTPStatus.OK, render()
    except UserError as error:
        return HTTPStatus.SERVICE_UNAVAILABLE, str(error)
    except Exception as error:  # the server outlives whatever a run's files hold
        return HTTPStatus.INTERNAL_SERVER_ERROR, (
            f"the report could not be made ({type(error).__name__}: {error}); load it"
            " again when the runs have gone on."
        )


def _json(value: Any) -> str:
    return json.dumps(value, allow_nan=False)


def _handler(
    page: Callable[[], str], data: Callable[[], dict[str, Any]]
) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        server_version, sys_version = "report", ""
        timeout = PATIENCE

        def do_GET(self) -> None:  # noqa: N802 - http.server's name
            with suppress(ConnectionError):  # the page was closed meanwhile
                self._answer()

        do_HEAD = do_GET  # noqa: N815

        def _answer(self) -> None:
            if self.headers.get("Host") not in self._host_names():
                self._send(HTTPStatus.FORBIDDEN, "text/plain", "not this host\n")
            elif self.path == "/":
                status, text = _text_or_reason(page)
                kind = "text/html" if status == HTTPStatus.OK else "text/plain"
                self._send(status, kind, text)
            elif self.path == "/data.json":
                status, text = _text_or_reason(lambda: _json(data()))
                if status != HTTPStatus.OK:
                    text = json.dumps({"error": text})
                self._send(status, "application/json", text)
            else:
                text = "there is only / and /data.json\n"
                self._send(HTTPStatus.NOT_FOUND, "text/plain", text)

        def _host_names(self) -> set[str]:
            port = self.server.server_port
            names = {f"{name}:{port}" for name in (ADDRESS, "localhost")}
            return names | {ADDRESS, "localhost"} if port == 80 else names

        def _send(self, status: HTTPStatus, kind: str, text: str) -> None:
            body = text.encode("utf-8", "replace")
            self.send_response(status)
            self.send_header("Content-Type", f"{kind}; charset=utf-8")
            self.send_header("Content-Length", str(len(body)))
            self.send_header("Cache-Control", "no-store")
            self.send_header("X-Content-Type-Options", "nosniff")
            self.send_header("X-Frame-Options", "DENY")
            self.send_header("Cross-Origin-Resource-Policy", "same-origin")
            self.end_headers()
            if self.command != "HEAD":
                self.wfile.write(body)

        def log_message(self, *_: object) -> None:
            """Prints nothing: there is a request every few seconds."""

    return Handler
