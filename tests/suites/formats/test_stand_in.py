"""The stand-in in the published layout, on real films: a confusion matrix computed once by an independent script."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from suites.harness.formats import load_subject


def label_of(file: Path) -> str:
    kinds = {"bacteria": "bacterial_pneumonia", "virus": "viral_pneumonia"}
    return next((label for word, label in kinds.items() if word in file.name), "normal")


@pytest.mark.realdata
@pytest.mark.slow
def test_the_confusion_of_the_stand_in(shared):
    subject = load_subject(str(shared / "weights" / "kermany-convnextv2-atto"))
    files = sorted((shared / "data" / "kermany" / "test").rglob("*.jpeg"))
    truth = np.array([subject.classes.index(label_of(file)) for file in files])
    films = np.stack([np.asarray(Image.open(file).convert("L")) for file in files])
    films = torch.from_numpy(films).to(torch.float32) / 255
    answers = [subject.answer(subject.pixels(batch))[0].argmax(dim=1) for batch in films.split(32)]
    confusion = np.zeros((3, 3), dtype=int)
    np.add.at(confusion, (truth, torch.cat(answers).numpy()), 1)
    expected = np.array([[170, 7, 5], [11, 132, 32], [36, 3, 72]])
    assert np.abs(confusion - expected).max() <= 2, f"more than two films moved: {confusion.tolist()}"
