"""The stand-in in the published layout, on real films, beside Transformers' network and torchvision's transform."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image
from torchvision.transforms import v2
from transformers import ConvNextV2ForImageClassification

from calibration.error import ece
from suites.harness.cohorts.decoding import decode_image
from suites.harness.subjects.formats import load_subject

TRANSFORM = v2.Compose(
    [
        v2.ToImage(),
        v2.Resize(255, antialias=True),
        v2.CenterCrop(224),
        v2.ToDtype(torch.float32, scale=True),
        v2.Normalize([0.485, 0.456, 0.406], [0.229, 0.224, 0.225]),
    ]
)


def label_of(file: Path) -> str:
    kinds = {"bacteria": "bacterial_pneumonia", "virus": "viral_pneumonia"}
    return next((label for word, label in kinds.items() if word in file.name), "normal")


@pytest.mark.realdata
@pytest.mark.slow
def test_the_stand_in_answers_as_its_reference_on_every_test_film(shared):
    folder = shared / "weights" / "kermany-convnextv2-atto"
    subject = load_subject(str(folder))
    theirs = ConvNextV2ForImageClassification.from_pretrained(folder).eval()
    files = sorted((shared / "data" / "kermany" / "test").rglob("*.jpeg"))
    truth = np.array([subject.classes.index(label_of(file)) for file in files])
    found = []
    for first in range(0, len(files), 32):
        batch = files[first : first + 32]
        films = torch.stack([torch.from_numpy(decode_image(file).pixels) for file in batch])
        logits = subject.answer(subject.pixels(films))[0]
        with torch.inference_mode():
            expected = theirs(torch.stack([TRANSFORM(Image.open(file).convert("RGB")) for file in batch])).logits
        torch.testing.assert_close(logits, expected, atol=1e-5, rtol=0)
        found.append(logits)
    probabilities = torch.cat(found).double().softmax(1).numpy()
    confusion = np.zeros((3, 3), dtype=int)
    np.add.at(confusion, (truth, probabilities.argmax(1)), 1)
    assert confusion.tolist() == [[170, 7, 5], [11, 132, 32], [36, 3, 72]]
    of_truth = probabilities[np.arange(len(truth)), truth]
    assert round(float((probabilities.argmax(1) == truth).mean()), 5) == 0.79915
    assert round(float(-np.log(of_truth).mean()), 5) == 0.62628
    assert round(float(((probabilities - np.eye(3)[truth]) ** 2).sum(1).mean()), 5) == 0.31601
    assert round(float(ece(probabilities, truth)), 5) == 0.06505
