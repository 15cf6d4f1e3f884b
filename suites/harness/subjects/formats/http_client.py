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
from typing import NamedTuple, TypeVar

import httpcore
import httpx

from suites.harness.errors import QuestionFailed, SubjectProblem
from suites.harness.subjects.formats.service_network import AnswerTooLong, BoundedNetwork, pool_for
from suites.harness.subjects.formats.wording import in_one_line, in_short

TRIES = 4
FIRST_WAIT = 0.5
"""Seconds before the second try; each further wait is twice as long."""
PATIENCE = 2.0
"""All tries of a question together take so many times what one answer may (60 s by default), or `AT_LEAST` seconds."""
AT_LEAST = 20.0
MAX_BYTES = 2**20
"""An answer of a few numbers, its head and framing included, is never this long; what is longer is not read on."""
DEEPEST = 16
"""Levels of an answer's JSON; one that keeps to the contract has two."""
KEEP_SECONDS = 4.0
"""An idle connection is dropped before uvicorn (5 s by default) drops it under our hands."""
HEADERS = {"Accept": "application/json", "Accept-Encoding": "identity", "User-Agent": "chest-xray-reliability"}

Item = TypeVar("Item")
Answer = TypeVar("Answer")
Files = dict[str, tuple[str, bytes, str]]


class Reply(NamedTuple):
    """What came back: the status, where a redirection points to (else empty), and the body."""

    status: int
    location: str
    body: bytes


class Wire:
    """Questions to one service, from several threads at once.

    Args:
        address: without a trailing slash, such as `http://127.0.0.1:8000`.
        timeout: seconds one answer may take, from the connection to the last byte read.
        workers: questions under way at the same time.

    Raises:
        SubjectProblem: the environment names a proxy that cannot be used.
    """

    def __init__(self, address: str, *, timeout: float, workers: int) -> None:
        self.address, self.timeout = address, timeout
        self._network = BoundedNetwork()
        self._connections = pool_for(address, self._network, connections=workers, idle=KEEP_SECONDS)
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="service")
        weakref.finalize(self, _close, self._connections, self._pool)

    def together(self, ask: Callable[[Item], Answer], items: Iterable[Item]) -> list[Answer]:
        """Return the answers in the order of the items, `workers` questions at a time; after a failure none is left.

        Raises:
            QuestionFailed: the first item that was not answered, as `ask` raised a SubjectProblem about it.
        """
        questions = [self._pool.submit(ask, item) for item in items]
        found: list[Answer] = []
        try:
            for question in questions:
                found.append(question.result())  # noqa: PERF401 - as far as it came, to tell which one failed
        except SubjectProblem as problem:
            raise QuestionFailed(problem, len(found)) from problem
        finally:
            for question in questions:
                question.cancel()
            wait(questions)
        return found

    def get(self, path: str) -> object:
        """Return the JSON at a path."""
        return self._answer("GET", path)

    def upload(self, path: str, png: bytes) -> object:
        """Return the JSON answer to an image sent as the multipart field `file`."""
        return self._answer("POST", path, {"file": ("film.png", png, "image/png")})

    def _answer(self, method: str, path: str, files: Files | None = None) -> object:
        """Return the parsed answer.

        Raises:
            SubjectProblem: nothing came after all tries, the status is no success, or the answer is not JSON.
        """
        where, trouble, tried = f"{self.address}: {method} {path}", "", 0
        last = time.monotonic() + max(PATIENCE * self.timeout, AT_LEAST)
        for attempt in range(TRIES):
            if attempt:
                time.sleep(FIRST_WAIT * 2 ** (attempt - 1))
            left = min(self.timeout, last - time.monotonic())
            if left <= 0:
                break
            tried += 1
            try:
                reply = self._once(method, path, files, left)
            except AnswerTooLong as error:
                raise SubjectProblem(f"{where} answers with more than {MAX_BYTES} bytes") from error
            except httpcore.TimeoutException:
                trouble = f"gave no answer within {self.timeout:g} s (?timeout=SECONDS allows more)"
            except (httpcore.NetworkError, httpcore.ProtocolError, httpcore.ProxyError, UnicodeError) as error:
                trouble = f"failed ({in_one_line(error, 100)}); is the service running there?"
            else:
                if reply.status == httpx.codes.OK:
                    return _parsed(reply.body, where)
                said = _shortened(reply.body)
                if reply.location and httpx.codes.is_redirect(reply.status):
                    said = f"it points to {in_short(reply.location, 60)}; give the address that answers itself"
                if reply.status < httpx.codes.INTERNAL_SERVER_ERROR:
                    raise SubjectProblem(
                        f"{where} was refused with status {reply.status} ({said}); expected 200 and JSON"
                    )
                trouble = f"answered with status {reply.status} ({said}); look into the service's own log"
        raise SubjectProblem(f"{where} {trouble} - tried {tried} time{'s' * (tried > 1)}")

    def _once(self, method: str, path: str, files: Files | None, seconds: float) -> Reply:
        """Return what comes back within some seconds."""
        request = httpx.Request(method, self.address + path, headers=HEADERS, files=files)
        url = httpcore.URL(
            scheme=request.url.raw_scheme, host=request.url.raw_host, port=request.url.port, target=request.url.raw_path
        )
        waiting = {"timeout": {"pool": seconds}}
        with (
            self._network.exchange(seconds, MAX_BYTES),
            self._connections.stream(
                method, url, headers=request.headers.raw, content=request.read(), extensions=waiting
            ) as answer,
        ):
            body = answer.read()
            location = next((value for name, value in answer.headers if name.lower() == b"location"), b"")
            return Reply(answer.status, location.decode("latin-1"), body)


def _close(connections: httpcore.ConnectionPool, pool: ThreadPoolExecutor) -> None:
    pool.shutdown(wait=False, cancel_futures=True)
    connections.close()


def _parsed(body: bytes, where: str) -> object:
    try:
        answer: object = json.loads(body)
    except (ValueError, RecursionError) as error:
        raise SubjectProblem(f"{where} should answer with JSON, not with {_shortened(body)}") from error
    if _nested_deeper(answer, DEEPEST):
        raise SubjectProblem(f"{where} answers with JSON that is nested more than {DEEPEST} deep")
    return answer


def _nested_deeper(answer: object, levels: int) -> bool:
    inside = answer.values() if isinstance(answer, dict) else answer if isinstance(answer, list) else ()
    return bool(inside) and (levels == 0 or any(_nested_deeper(one, levels - 1) for one in inside))


def _shortened(body: bytes) -> str:
    """Return the beginning of an answer as one printable line."""
    return in_short(" ".join(body[:1000].decode("utf-8", "replace").split()), 80) if body else "nothing"
