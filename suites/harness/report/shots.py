"""How do galleries become files? Each picture, and beside it what it shows as JSON."""

from __future__ import annotations

import json
import logging
from collections.abc import Sequence
from pathlib import Path

from suites.harness.claims import GalleryItem
from suites.harness.local_paths import without_folders
from suites.harness.report import pictures
from suites.harness.report.views import Shot

logger = logging.getLogger(__name__)


def store_gallery(items: Sequence[GalleryItem], folder: Path, stem: str) -> list[Shot]:
    """Draw a gallery into `figures/<stem>.NNN.jpg` under the report's folder, `.json` beside it where there is one."""
    return [_stored(item, folder, f"{stem}.{index:03d}") for index, item in enumerate(items)]


def _stored(item: GalleryItem, folder: Path, stem: str) -> Shot:
    picture = pictures.store(item.draw, folder, stem, item.caption)
    sidecar = _sidecar(item, picture, folder, stem) if item.details and picture.file else ""
    facts = {key: str(value) for key, value in item.facts.items()}
    return Shot(picture=picture, caption=item.caption, facts=facts, sidecar=sidecar)


def _sidecar(item: GalleryItem, picture: pictures.Picture, folder: Path, stem: str) -> str:
    assert item.details is not None  # noqa: S101 - asked by the caller
    try:
        content = {**item.details(), "caption": item.caption, "picture": picture.file}
        text = json.dumps(content, indent=1, sort_keys=True, ensure_ascii=False, allow_nan=False)
    except Exception:  # code of any suite, as for the picture itself
        logger.warning("the numbers of %s could not be written", stem, exc_info=True)
        return ""
    name = f"figures/{stem}.json"
    (folder / name).write_text(without_folders(text) + "\n", encoding="utf-8")
    return name
