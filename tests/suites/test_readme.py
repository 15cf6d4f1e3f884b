"""What the README shows can be typed in as it stands."""

from __future__ import annotations

import re
from pathlib import Path

import timm
import torch

from suites.harness import load_subject

README = Path(__file__).parents[2] / "README.md"


def test_the_parts_can_be_used_alone_as_shown(monkeypatch):
    section = README.read_text(encoding="utf-8").split("## Its parts alone")[1]
    (code,) = re.findall(r"```python\n(.*?)```", section.split("\n## ")[0], re.DOTALL)
    monkeypatch.setenv("NO_ALBUMENTATIONS_UPDATE", "1")  # it is imported first there, and would ask the network
    shown: dict[str, object] = {}
    exec(compile(code, "README.md", "exec"), shown)
    assert shown["scattered"].shape == shown["films"].shape
    assert shown["augmented"].shape == shown["films"].shape[1:]
    assert shown["logits"].shape == (24, 3)
    assert len(shown["attacked"].films) == 24


def test_a_network_of_ones_own_takes_six_lines_as_shown(tmp_path, monkeypatch):
    section = README.read_text(encoding="utf-8").split("## From any folder")[1]
    (code,) = re.findall(r"```python\n(.*?)```", section.split("\n## ")[0], re.DOTALL)
    assert len([line for line in code.splitlines() if line.strip()]) <= 6
    (tmp_path / "a_model_as_shown.py").write_text(code)
    torch.save(timm.create_model("resnet18", num_classes=2).state_dict(), tmp_path / "best.pt")
    monkeypatch.chdir(tmp_path)
    subject = load_subject("a_model_as_shown:load")
    assert subject.classes == ("normal", "pneumonia")
    assert "224 pixels" in subject.provenance.assumed
