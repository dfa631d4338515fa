"""An HTTP proxy before an S3 endpoint, both on this machine, that fails by a seeded schedule."""

from __future__ import annotations

import http.client
import random
import socket
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from urllib.parse import urlsplit

FAULTS = ("drop", "lose answer", "delay", "500", "503", "SlowDown", "cut body")
_DELAY_S = 0.05
_XML = "<?xml version='1.0'?><Error><Code>{0}</Code><Message>{0} it is.</Message></Error>"
_REFUSALS = {  # status and S3's own name of it
    "403": (403, "AccessDenied"),
    "500": (500, "InternalError"),
    "503": (503, "ServiceUnavailable"),
    "SlowDown": (503, "SlowDown"),
}


@dataclass(frozen=True)
class Request:
    """One request, as the schedule sees it."""

    method: str
    path: str  # with the query
    seen: int  # how often the same was asked for before


Schedule = Callable[[Request], str | None]  # one of FAULTS, 403, or None


def seeded(seed: int, share: float, faults: Sequence[str] = FAULTS, most: int = 2) -> Schedule:
    """Fails a share of requests, each alike however threads take turns.

    Args:
        seed: of the choice.
        share: of requests that fail.
        faults: to choose from.
        most: times that the same request fails.
    """

    def choose(request: Request) -> str | None:
        drawn = random.Random(f"{seed} {request}")
        fails = drawn.random() < share and request.seen < most
        return drawn.choice(list(faults)) if fails else None

    return choose


@dataclass
class Proxy:
    """A running proxy."""

    upstream: str  # host:port
    schedule: Schedule = lambda request: None
    url: str = ""
    requests: list[Request] = field(default_factory=list)
    faults: Counter[str] = field(default_factory=Counter)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _seen: Counter[tuple[str, str]] = field(default_factory=Counter)

    def fault(self, method: str, path: str) -> str | None:
        """What is to happen to the next request."""
        with self._lock:
            request = Request(method, path, self._seen[method, path])
            self._seen[method, path] += 1
            self.requests.append(request)
            fault = self.schedule(request)
            self.faults.update([fault] if fault else [])
        return fault


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True  # else every answer with a body waits 40 ms
    proxy: Proxy

    def _serve(self) -> None:
        body = self.rfile.read(int(self.headers.get("Content-Length", 0)))
        fault = self.proxy.fault(self.command, self.path)
        if fault == "drop":
            self._hang_up()
        elif fault in _REFUSALS:
            self._refuse(*_REFUSALS[fault])
        else:
            time.sleep(_DELAY_S if fault == "delay" else 0)
            self._answer(body, fault)

    def __getattr__(self, name: str) -> Callable[[], None]:
        """Every `do_METHOD`."""
        if name.startswith("do_"):
            return self._serve
        raise AttributeError(name)

    def _refuse(self, status: int, code: str) -> None:
        content = b"" if self.command == "HEAD" else _XML.format(code).encode()
        self.send_response(status)
        self.send_header("Content-Length", str(len(content)))
        self.end_headers()
        self.wfile.write(content)

    def _answer(self, body: bytes, fault: str | None) -> None:
        connection = http.client.HTTPConnection(self.proxy.upstream, timeout=30)
        try:
            connection.request(self.command, self.path, body, dict(self.headers))
            answer = connection.getresponse()
            content = answer.read()
        finally:
            connection.close()
        if fault == "lose answer":
            self._hang_up()
            return
        self.send_response(answer.status)
        for name, value in answer.getheaders():
            if name.lower() not in ("connection", "transfer-encoding", "content-length", "date"):
                self.send_header(name, value)
        length = answer.getheader("Content-Length") if self.command == "HEAD" else len(content)
        self.send_header("Content-Length", str(length or 0))
        self.end_headers()
        if fault == "cut body":
            self.wfile.write(content[: len(content) // 2])
            self._hang_up()
            return
        self.wfile.write(content)

    def _hang_up(self) -> None:
        self.close_connection = True
        with suppress(OSError):
            self.connection.shutdown(socket.SHUT_RDWR)

    def log_message(self, *_: object) -> None:
        """Says nothing."""


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def handle_error(self, *_: object) -> None:
        """A client that hangs up is no error of the test."""


@contextmanager
def faulty(upstream: str, schedule: Schedule) -> Iterator[Proxy]:
    """A proxy before an endpoint's URL, until the block ends."""
    proxy = Proxy(urlsplit(upstream).netloc, schedule)
    server = _Server(("127.0.0.1", 0), type("Handler", (_Handler,), {"proxy": proxy}))
    proxy.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
    thread.start()
    try:
        yield proxy
    finally:
        server.shutdown()
        server.server_close()
