"""How does a text leave this machine? Without the folders that lie on it; the last name of a path says enough.

A page, a card and their files are published: where somebody keeps films and weights, and under which name they are
logged in, is nobody's business. Of a path stays its last name, be it in a spec, in a command, or in a message that
somebody's code raised.
"""

from __future__ import annotations

import os
import re
from pathlib import Path, PureWindowsPath

_QUOTED = re.compile(r"(?P<quote>['\"`])(?P<path>(?:file://)?(?:/|~[\w.-]*/|[A-Za-z]:[\\/])[^'\"`\n]*)(?P=quote)")
_BARE = re.compile(
    r"(?<![\w/.)\]}%<&;~])(?:file://)?(?P<home>~[\w.-]*|[A-Za-z]:)?(?P<path>(?:/|(?<=:)\\)(?![/\\\s])[^\s'\"`<>|;,()\[\]{}]*)"
)
_CUT = re.compile(r"\.\.\.[^\s'\"`/\\]*[/\\](?:[^\s'\"`]*[/\\])?")
"""A path of which a message shows the end only."""
_TRAILING = re.compile(r"[.:!?]+$")


def without_folders(text: str) -> str:
    """Return a text in which of each absolute path on this machine only the last name is left.

    Addresses (`http://host/a/b`), specs (`hf:owner/name`), fractions (`a/b`) and paths relative to where a run was
    started stay as they are.
    """
    if "/" not in text and "\\" not in text:
        return text
    for folder in _own_folders():  # they may hold blanks, where the end of a bare path cannot be told
        text = re.sub(rf"(?<![\w/.]){re.escape(folder)}", "/", text)
    text = _CUT.sub("...", text)
    text = _QUOTED.sub(lambda found: f"{found['quote']}{_last(found['path'])}{found['quote']}", text)
    return _BARE.sub(_bare, text)


def spec_without_folders(spec: str) -> str:
    """Return a spec of weights or films without the folders of this machine: its own, and those of its options.

    A path below the folder that a run is started in stays, so that whoever has the project can type the spec in.
    """
    if os.path.exists(os.path.expanduser(spec)):  # noqa: PTH110, PTH111 - pathlib's raise on names that are none
        return _placed(spec)
    before, mark, query = spec.partition("?")
    parts = []
    for part in query.split("&"):
        key, equals, value = part.partition("=")
        parts.append(f"{key}{equals}{_placed(value)}")
    return f"{_placed(before)}{mark}{'&'.join(parts)}"


def _placed(text: str) -> str:
    """Return what may be a path: its last name where it leads out of the folder a run is started in."""
    outside = Path(text).is_absolute() or PureWindowsPath(text).is_absolute() or text.startswith("~")
    return _last(text) if outside or ".." in Path(text).parts else text


def _bare(found: re.Match[str]) -> str:
    path = found["path"]
    end = _TRAILING.search(path)
    punctuation = end[0] if end else ""
    kept = path.removesuffix(punctuation)
    if not re.search(r"[/\\].*[/\\]", kept) and not found["home"]:
        return found[0]  # one name behind a slash tells of no place
    return f"{_last(kept)}{punctuation}"


def _last(path: str) -> str:
    return re.split(r"[/\\]", path.rstrip("/\\"))[-1]


def _own_folders() -> list[str]:
    """Return the folders that every path of this user's is likely to begin with, the longest first."""
    known = {os.getcwd(), os.path.expanduser("~")}  # noqa: PTH109, PTH111 - as text; without a home it stays `~`
    return sorted((f"{folder.rstrip(os.sep)}/" for folder in known if len(Path(folder).parts) > 1), key=len)[::-1]
