"""How is a deployed service reached? One connection per worker, bounded waiting, another try where it may help.

A connection that fails, an answer that does not come in time and a status of 500 or more are tried again after a wait
that doubles; any other status is the service's last word. What cannot be had is a `SubjectProblem` in one line.
"""

from __future__ import annotations

import json
import time
import weakref
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor, wait
from typing import TypeVar

import httpx

from suites.harness.errors import SubjectProblem
from suites.harness.subjects.formats.wording import in_one_line, in_short

TRIES = 4
FIRST_WAIT = 0.5
"""Seconds before the second try; each further wait is twice as long."""
MAX_BYTES = 2**20
"""An answer of a few numbers is never this long; what is longer is not read to its end."""
KEEP_SECONDS = 4.0
"""An idle connection is dropped before uvicorn (5 s by default) drops it under our hands."""
LOOPBACK = ("localhost", "127.0.0.1", "::1")

Item = TypeVar("Item")
Answer = TypeVar("Answer")


class Wire:
    """Questions to one service, from several threads at once.

    Args:
        address: without a trailing slash, such as `http://127.0.0.1:8000`.
        timeout: seconds one answer may take, from the first byte sent to the last byte read.
        workers: questions under way at the same time.
    """

    def __init__(self, address: str, *, timeout: float, workers: int) -> None:
        self.address, self.timeout = address, timeout
        limits = httpx.Limits(max_connections=workers, max_keepalive_connections=workers, keepalive_expiry=KEEP_SECONDS)
        # A proxy of the environment has no way to this machine's own services.
        proxies = httpx.URL(address).host not in LOOPBACK
        self._client = httpx.Client(timeout=timeout, limits=limits, trust_env=proxies)
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="service")
        weakref.finalize(self, _close, self._client, self._pool)

    def together(self, ask: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """Return the answers in the order of the items, `workers` questions at a time; after a failure none is left."""
        questions = [self._pool.submit(ask, item) for item in items]
        try:
            return [question.result() for question in questions]
        finally:
            for question in questions:
                question.cancel()
            wait(questions)

    def get(self, path: str) -> object:
        """Return the JSON at a path."""
        return self._answer("GET", path)

    def upload(self, path: str, png: bytes) -> object:
        """Return the JSON answer to an image sent as the multipart field `file`."""
        return self._answer("POST", path, {"file": ("film.png", png, "image/png")})

    def _answer(self, method: str, path: str, files: dict[str, tuple[str, bytes, str]] | None = None) -> object:
        """Return the parsed answer.

        Raises:
            SubjectProblem: nothing came after all tries, the status is no success, or the answer is not JSON.
        """
        where, trouble = f"{self.address}: {method} {path}", ""
        for attempt in range(TRIES):
            if attempt:
                time.sleep(FIRST_WAIT * 2 ** (attempt - 1))
            try:
                status, body = self._once(method, path, files)
            except httpx.TimeoutException:
                trouble = f"gave no answer within {self.timeout:g} s (?timeout=SECONDS allows more)"
            except httpx.RequestError as error:
                trouble = f"failed ({in_one_line(error)}); is the service running there?"
            else:
                if status == httpx.codes.OK:
                    return _parsed(body, where)
                said = _shortened(body)
                if status < httpx.codes.INTERNAL_SERVER_ERROR:
                    raise SubjectProblem(f"{where} was refused with status {status} ({said}); expected 200 and JSON")
                trouble = f"answered with status {status} ({said}); look into the service's own log"
        raise SubjectProblem(f"{where} {trouble} - tried {TRIES} times")

    def _once(self, method: str, path: str, files: dict[str, tuple[str, bytes, str]] | None) -> tuple[int, bytes]:
        """Return status and body; httpx's own timeout restarts with every byte, so the whole is timed here."""
        body, end = bytearray(), time.monotonic() + self.timeout
        with self._client.stream(method, self.address + path, files=files) as answer:
            for piece in answer.iter_bytes():
                body += piece
                if len(body) > MAX_BYTES:
                    raise SubjectProblem(f"{self.address}: {method} {path} answers with more than {MAX_BYTES} bytes")
                if time.monotonic() > end:
                    raise httpx.ReadTimeout("the answer comes too slowly")
        return answer.status_code, bytes(body)


def _close(client: httpx.Client, pool: ThreadPoolExecutor) -> None:
    pool.shutdown(wait=False, cancel_futures=True)
    client.close()


def _parsed(body: bytes, where: str) -> object:
    try:
        return json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SubjectProblem(f"{where} should answer with JSON, not with {_shortened(body)}") from error


def _shortened(body: bytes) -> str:
    """Return the beginning of an answer as one printable line."""
    return in_short(" ".join(body[:1000].decode("utf-8", "replace").split())) if body else "nothing"
