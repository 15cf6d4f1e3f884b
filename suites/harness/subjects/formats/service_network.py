"""How long may a service answer, and how much? One deadline and one size for all that comes over the wire.

The timeouts of an HTTP client begin anew with every byte that arrives, so a status line that drips, answers of status
1xx without end or chunk extensions without end are waited for as long as they last. Here the time and the bytes of a
whole exchange are counted where they pass: at the socket, from the connection to the last byte of the body.
"""

from __future__ import annotations

import threading
import time
import urllib.request
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from ssl import SSLContext
from typing import Any

import httpcore
import httpx

from suites.harness.errors import SubjectProblem

LOOPBACK = ("localhost", "127.0.0.1", "::1")
_PIECE = 2**16


class AnswerTooLong(Exception):
    """More bytes came than an exchange may have."""


class BoundedNetwork(httpcore.NetworkBackend):
    """Connections whose reads and writes end at the deadline of the exchange that the calling thread has under way."""

    def __init__(self) -> None:
        self._inner = httpcore.SyncBackend()
        self._mine = threading.local()

    @contextmanager
    def exchange(self, seconds: float, most: int) -> Iterator[None]:
        """Let this thread exchange bytes for so many seconds, and read so many of them."""
        self._mine.ends, self._mine.left = time.monotonic() + seconds, most
        try:
            yield
        finally:
            del self._mine.ends, self._mine.left

    def remaining(self, late: type[httpcore.TimeoutException]) -> float:
        """Return the seconds that are left to this thread's exchange.

        Raises:
            TimeoutException: of the given kind, where none are.
        """
        seconds: float = self._mine.ends - time.monotonic()
        if seconds <= 0:
            raise late("the answer comes too slowly")
        return seconds

    def count(self, data: bytes) -> bytes:
        """Return what was read.

        Raises:
            AnswerTooLong: it is more than this thread's exchange may read.
        """
        self._mine.left -= len(data)
        if self._mine.left < 0:
            raise AnswerTooLong
        return data

    def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,  # noqa: ARG002 - httpcore's signature; the deadline decides
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.NetworkStream:
        """Connect within what is left of the exchange."""
        left = self.remaining(httpcore.ConnectTimeout)
        return _Bounded(self, self._inner.connect_tcp(host, port, left, local_address, socket_options))


class _Bounded(httpcore.NetworkStream):
    """A connection of a `BoundedNetwork`."""

    def __init__(self, network: BoundedNetwork, inner: httpcore.NetworkStream) -> None:
        self.network, self.inner = network, inner

    def read(self, max_bytes: int, timeout: float | None = None) -> bytes:  # noqa: ARG002 - the deadline decides
        return self.network.count(self.inner.read(max_bytes, self.network.remaining(httpcore.ReadTimeout)))

    def write(self, buffer: bytes, timeout: float | None = None) -> None:  # noqa: ARG002 - the deadline decides
        for start in range(0, len(buffer), _PIECE):
            left = self.network.remaining(httpcore.WriteTimeout)
            self.inner.write(buffer[start : start + _PIECE], left)

    def close(self) -> None:
        self.inner.close()

    def start_tls(
        self,
        ssl_context: SSLContext,
        server_hostname: str | None = None,
        timeout: float | None = None,  # noqa: ARG002 - the deadline decides
    ) -> httpcore.NetworkStream:
        left = self.network.remaining(httpcore.ConnectTimeout)
        return _Bounded(self.network, self.inner.start_tls(ssl_context, server_hostname, left))

    def get_extra_info(self, info: str) -> Any:  # noqa: ANN401 - httpcore's signature
        return self.inner.get_extra_info(info)


def pool_for(address: str, network: BoundedNetwork, *, connections: int, idle: float) -> httpcore.ConnectionPool:
    """Return the connections to a service, by way of the environment's proxy where there is one.

    Args:
        address: of the service.
        network: bounds them.
        connections: at the same time.
        idle: seconds after which one that is not used is dropped.

    Raises:
        SubjectProblem: the environment names a proxy that is none.
    """
    url = httpx.URL(address)
    settings: dict[str, Any] = {
        "max_connections": connections, "max_keepalive_connections": connections, "keepalive_expiry": idle,
        "network_backend": network, "ssl_context": httpx.create_ssl_context() if url.scheme == "https" else None,
    }  # fmt: skip
    known = urllib.request.getproxies()
    named = known.get(url.scheme) or known.get("all")
    # A proxy of the environment has no way to this machine's own services.
    if not named or url.host in LOOPBACK or urllib.request.proxy_bypass(url.host):
        return httpcore.ConnectionPool(**settings)
    try:
        proxy = httpx.Proxy(named if "://" in named else f"http://{named}")
    except (ValueError, httpx.InvalidURL) as error:
        raise SubjectProblem(f"{address}: the environment's {url.scheme}_proxy is no address of a proxy") from error
    if proxy.url.scheme not in ("http", "https"):
        raise SubjectProblem(
            f"{address}: the environment names a proxy of kind {proxy.url.scheme[:20]}, and only http and https "
            f"proxies are known here; name {url.host} in NO_PROXY to go without"
        )
    through = httpcore.URL(
        scheme=proxy.url.raw_scheme, host=proxy.url.raw_host, port=proxy.url.port, target=proxy.url.raw_path
    )
    return httpcore.HTTPProxy(
        proxy_url=through, proxy_auth=proxy.raw_auth, proxy_headers=proxy.headers.raw,
        proxy_ssl_context=proxy.ssl_context, **settings,
    )  # fmt: skip
