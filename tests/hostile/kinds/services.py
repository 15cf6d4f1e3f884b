"""What if a service answers slowly, endlessly or with something else? Few, for they wait."""

from __future__ import annotations

import json
import random
import socket
import threading
import time
from collections.abc import Iterator
from pathlib import Path

from suites.harness import Subject, load_subject
from tests.hostile import material
from tests.hostile.case import Case, accepted, generator, refused

GOOD = {"pred": "normal", "probs": {"bacterial_pneumonia": 0.2, "normal": 0.5, "viral_pneumonia": 0.3}}


def _answer(body: bytes, status: str = "200 OK", head: str = "") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n{head}\r\n".encode() + body


def serve(answer: object) -> str:
    """Serve one kind of answer on loopback, from threads that end with the process; return the address."""
    listener = socket.create_server(("127.0.0.1", 0))

    def talk(connection: socket.socket) -> None:
        with connection:
            try:
                while _question(connection):
                    for piece in answer():  # type: ignore[operator]
                        connection.sendall(piece)
            except OSError:
                return

    def accept() -> None:
        while True:
            threading.Thread(target=talk, args=(listener.accept()[0],), daemon=True).start()

    threading.Thread(target=accept, daemon=True).start()
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


def _question(connection: socket.socket) -> bool:
    """Read one question to its end."""
    data = b""
    while b"\r\n\r\n" not in data:
        piece = connection.recv(65536)
        if not piece:
            return False
        data += piece
    head, _, body = data.partition(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length")), 0
    )
    while len(body) < length:
        body += connection.recv(65536)
    return True


def _drip(piece: bytes, every: float = 0.05) -> Iterator[bytes]:
    while True:
        yield piece
        time.sleep(every)


SLOW = {
    "a status line that drips": lambda: _drip(b"H"),
    "a head that drips": lambda: (piece for part in ([b"HTTP/1.1 200 OK\r\nX: "], _drip(b"x")) for piece in part),
    "answers of 1xx": lambda: _drip(b"HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\n" * 200, 0.001),
    "chunk extensions": lambda: (piece for part in ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;"],
    _drip(b"x" * 4000, 0.001)) for piece in part),
    "a body that drips": lambda: (piece for part in ([b"HTTP/1.1 200 OK\r\nContent-Length: 9999\r\n\r\n"],
    _drip(b" ")) for piece in part),
    "small chunks": lambda: (piece for part in ([b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"],
    _drip(b"1\r\nx\r\n", 0.001)) for piece in part),
    "heads without end": lambda: (piece for part in ([b"HTTP/1.1 200 OK\r\n"], _drip(b"X: y\r\n" * 1000,
    0.001)) for piece in part),
    "nothing": lambda: (time.sleep(99) or b"" for _ in range(1)),
}  # fmt: skip
WRONG = {
    "more than a megabyte": lambda: [_answer(b" " * 2**21)],
    "a bomb": lambda: [_answer(__import__("gzip").compress(bytes(2**28)), head="Content-Encoding: gzip\r\n")],
    "no HTTP": lambda: [b"SSH-2.0-x\r\n\r\n"],
    "no JSON": lambda: [_answer(b"<html>\n\n</html>")],
    "deep JSON": lambda: [_answer(b"[" * 10**5)],
    "digits": lambda: [_answer(b'{"pred": 0, "probs": [' + b"9" * 5000 + b", 0, 0]}")],
    "NaN": lambda: [_answer(b'{"pred": 0, "probs": [NaN, 0.5, 0.5]}')],
    "texts": lambda: [_answer(b'{"pred": 0, "probs": ["a", "b", "c"]}')],
    "a list": lambda: [_answer(b"[0.2, 0.5, 0.3]")],
    "one number": lambda: [_answer(b'{"pred": 0, "probs": [1.0]}')],
    "names with breaks": lambda: [_answer(json.dumps({"pred": 0, "probs": {"a\nb": 0.5, "c": 0.5}}).encode())],
    "halves of characters": lambda: [_answer(b'{"pred": 0, "probs": {"\\ud800": 0.5, "c": 0.5}}')],
    "not UTF-8": lambda: [_answer(b'{"pred": 0, "probs": {"\xff": 0.5, "c": 0.5}}')],
    "404": lambda: [_answer(b"no\nsuch", "404 Not Found")],
    "a circle": lambda: [_answer(b"", "302 Found", "Location: /predict\r\n")],
    "two lengths": lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 9\r\n\r\nhello"],
    "a negative length": lambda: [b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\nhello"],
    "a long status": lambda: [b"HTTP/1.1 200 " + b"x" * 10**6 + b"\r\n\r\n"],
}


@generator("services", share=5)
def slow(rng: random.Random, place: Path) -> Case:
    kind = rng.choice(list(SLOW))
    address = serve(SLOW[kind])
    return refused(lambda: load_subject(f"{address}?timeout=1"), what=kind, where=address)


@generator("services", share=18)
def wrong(rng: random.Random, place: Path) -> Case:
    kind = rng.choice(list(WRONG))
    address = serve(WRONG[kind])
    return refused(lambda: load_subject(f"{address}?timeout=1"), what=kind, where=address)


@generator("services", share=3)
def good(rng: random.Random, place: Path) -> Case:
    """Whole, in pieces of one byte, in chunks."""
    body = json.dumps(GOOD).encode()
    form = rng.choice(["whole", "bytes", "chunks", "after a 100"])
    pieces = {
        "whole": [_answer(body)], "bytes": [bytes([byte]) for byte in _answer(body)],
        "chunks": [b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
        f"{len(body):x}\r\n".encode() + body + b"\r\n0\r\n\r\n"],
        "after a 100": [b"HTTP/1.1 103 Early Hints\r\n\r\n" + _answer(body)],
    }[form]  # fmt: skip
    address = serve(lambda: pieces)

    def right(found: Subject) -> object:
        answered = found.respond(list(material.films())).exp()
        return (found.classes == material.CLASSES and bool((answered[:, 1] - 0.5).abs().max() < 1e-6)) or str(answered)

    return accepted(lambda: load_subject(f"{address}?timeout=9"), right, what=form)
