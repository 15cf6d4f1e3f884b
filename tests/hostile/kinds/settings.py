"""What if a value in a file of settings has another type, another size, or no meaning at all?"""

from __future__ import annotations

import json
import math
import os
import random
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import torch

from suites.harness import load_claims, load_subject, read_temperature
from suites.harness.report.folder import report_folder
from suites.harness.report.gate import GateOutcome, compare_with_baseline
from suites.harness.subjects.temperature_file import FittedTemperature
from tests.hostile import material
from tests.hostile.case import Case, either, generator, refused
from tests.hostile.values import UNREADABLE, in_short, json_fragment, meaning, toml_fragment

Good = Callable[[Any], bool]


def _never(value: object) -> bool:
    return False


def _number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


READ: Mapping[str, Good] = {
    "model_type": _never, "depths": lambda value: value == [1, 1, 1, 1], "hidden_sizes": _never, "hidden_act": _never,
    "num_channels": _never, "patch_size": lambda value: value == 4, "id2label": _never,
    "layer_norm_eps": lambda value: _number(value) and 0 <= value <= 1,
}  # fmt: skip
"""Keys of config.json that decide the network, and which fragments are good values of theirs."""
PROCESSED: Mapping[str, Good] = {
    "image_processor_type": lambda value: not value, "size": lambda value: isinstance(value, int) and value >= 8,
    "crop_pct": lambda value: _number(value) and 0 < value <= 1, "resample": lambda value: value in (0, 1, 2),
    "image_mean": lambda value: value == [0.1, 0.2, 0.3] or _number(value) or value == [1, 2, 3],
    "image_std": lambda value: value == [0.1, 0.2, 0.3] or (_number(value) and value > 0) or value == [1, 2, 3],
    "rescale_factor": _never,
    **dict.fromkeys(("do_resize", "do_rescale", "do_normalize"), lambda value: value in (False, 0)),
}  # fmt: skip


def _with(document: Mapping[str, Any], key: str, fragment: str) -> str:
    return json.dumps({**document, key: "@@"}).replace('"@@"', fragment)


def _drawn(rng: random.Random, good: Good) -> str:
    """Return a fragment that is no good value."""
    while True:
        fragment = json_fragment(rng)
        value = meaning(fragment)
        if value is UNREADABLE or not good(value):
            return fragment


@generator("settings", share=170)
def config(rng: random.Random, place: Path) -> Case:
    key = rng.choice(list(material.CONFIG))
    fragment = _drawn(rng, READ.get(key, _never))
    spec = material.hub_folder(place, config=_with(material.CONFIG, key, fragment))
    what = f"config.json: {key} = {in_short(fragment)}"
    if key in READ:
        return refused(lambda: load_subject(spec), what=what, where="config.json")
    return either(lambda: load_subject(spec), material.same_hub_subject, what=what, where="config.json")


@generator("settings", share=120)
def dinov2_config(rng: random.Random, place: Path) -> Case:
    known = {"hidden_size": 8, "num_hidden_layers": 1, "num_attention_heads": 2, "patch_size": 4, "mlp_ratio": 4,
             "use_swiglu_ffn": False, "hidden_act": "gelu", "layer_norm_eps": 1e-6}  # fmt: skip
    key = rng.choice(list(known))
    fragment = json_fragment(rng)
    document = {**material.CONFIG, **known, "model_type": "dinov2"}
    spec = material.hub_folder(place, config=_with(document, key, fragment))
    # The weights are those of another network, so nothing of it can load.
    return refused(
        lambda: load_subject(spec), what=f"dinov2 config.json: {key} = {in_short(fragment)}", where="weights"
    )


@generator("settings", share=150)
def processor(rng: random.Random, place: Path) -> Case:
    key = rng.choice(list(PROCESSED))
    fragment = _drawn(rng, PROCESSED[key])
    spec = material.hub_folder(place, processor=_with(material.PROCESSOR, key, fragment))
    what = f"preprocessor_config.json: {key} = {in_short(fragment)}"
    return either(lambda: load_subject(spec), material.same_hub_subject, what=what, where="preprocessor_config.json")


@generator("settings", share=60)
def hyper_parameters(rng: random.Random, place: Path) -> Case:
    values = [[], {}, None, True, 10**400, -1, 2.5, float("nan"), "resnet50", "x" * 10**5, ("a",), {"a": {}}, b"a",
              torch.tensor(3), torch.zeros(2, 2), "a\nb", ["a", 1, None], 3]  # fmt: skip
    settings = {"model_name": "resnet50", "num_classes": 3, "lr": 1e-4, "classes": list(material.CLASSES)}
    key, value = rng.choice([*settings, "class_names"]), rng.choice(values)
    content = {"hyper_parameters": {**settings, key: value}, "epoch": rng.choice([3, value]),
               "state_dict": {"model.fc.weight": torch.zeros(3, 2048), "model.fc.bias": torch.zeros(3)}}  # fmt: skip
    if rng.random() < 0.2:
        content["hyper_parameters"] = value
    torch.save(content, place / "best.ckpt")
    what = f"hyper_parameters: {key} = {str(value)[:40]}"
    return refused(lambda: load_subject(str(place / "best.ckpt")), what=what, where="best.ckpt")


CLAIM = {"id": '"classes.good"', "section": '"S"', "statement": '"s."', "kind": '"requirement"', "endpoint": '"score"',
         "margin": "0.5", "direction": '"above"', "documented": "0.9", "remedy": '"none"', "measure": '"accuracy"',
         "condition": '"clean"'}  # fmt: skip
_TEXTS, _NUMBERS = ("section", "statement", "remedy", "id", "kind", "endpoint", "direction"), ("margin", "documented")


@generator("settings", share=170)
def claims(rng: random.Random, place: Path) -> Case:
    key, fragment = rng.choice(list(CLAIM)), toml_fragment(rng)
    extends = rng.choice(["", "", "extends = true\n", f"extends = {toml_fragment(rng)}\n"])
    rows = "\n".join(f"{name} = {fragment if name == key else value}" for name, value in CLAIM.items())
    (place / "mine.toml").write_text(f"{extends}[[claim]]\n{rows}\n")
    what = f"claims: {key} = {in_short(fragment)}, {extends.strip()[:40]}"

    def right(found: list[Any]) -> object:
        mine = next(claim for claim in found if claim.statement == "s." or key == "statement")
        texts = all(isinstance(getattr(mine, name), str) for name in _TEXTS)
        numbers = all(_number(getattr(mine, name)) and math.isfinite(getattr(mine, name)) for name in _NUMBERS)
        return (texts and numbers) or f"{key} became {getattr(mine, key, None)!r}"

    return either(lambda: load_claims(place / "mine.toml"), right, what=what, where="mine.toml|claim ")


@generator("settings", share=24)
def claims_that_are_run(rng: random.Random, place: Path) -> Case:
    """Whatever of a claim is not refused when it is read is so before the run is over, its report included."""
    key, fragment = (
        rng.choice([key for key in CLAIM if key != "id"] + ["conditions", "class", "severity"]),
        toml_fragment(rng),
    )
    rows = "\n".join(f"{name} = {fragment if name == key else value}" for name, value in {**CLAIM, key: ""}.items())
    (place / "mine.toml").write_text(f"[[claim]]\n{rows}\n")

    def act() -> Any:
        run = material.judged(place / "cache", claims=place / "mine.toml")
        run.report(place / "report")
        return run

    what = f"claims, run: {key} = {in_short(fragment)}"
    return either(act, lambda run: len(run.judgements) == 1, what=what)


def _temperature() -> dict[str, Any]:
    return json.loads(
        FittedTemperature(
            temperature=1.5, low=1.0, high=2.0, subject="s", sha256="0" * 64, classes=material.CLASSES,
            preprocessing="repository", cohort="c", fingerprint="f", films=9, patients=9, nll_before=1.0,
            nll_after=0.9, seen=("0123456789",), answers=(0.5, 1.0), recipe="r",
        ).text()
    )  # fmt: skip


@generator("settings", share=120)
def temperature(rng: random.Random, place: Path) -> Case:
    good = _temperature()
    key, fragment = rng.choice(list(good)), json_fragment(rng)
    file = place / "temperature-one.json"
    file.write_text(_with(good, key, fragment))

    def right(found: FittedTemperature) -> object:
        told = json.loads(found.text())
        wrong = [name for name, value in good.items() if type(told[name]) is not type(value)
                 and not (_number(value) and _number(told[name]))]  # fmt: skip
        wrong += [name for name in ("classes", "seen") if not all(isinstance(item, str) for item in told[name])]
        wrong += [name for name in good if name != key and told[name] != good[name]]
        return not wrong or f"{wrong[0]} became {told[wrong[0]]!r}"

    what = f"temperature file: {key} = {in_short(fragment)}"
    return either(lambda: read_temperature(file), right, what=what, where="temperature-one.json")


def _change(rng: random.Random, document: Any) -> tuple[str, str]:
    """Put a fragment somewhere into a JSON document; return the text and what was done."""
    place, path = document, "$"
    while True:
        keys = list(place) if isinstance(place, dict) else list(range(len(place)))
        key = rng.choice(keys)
        path += f".{key}"
        if not isinstance(place[key], dict | list) or not place[key] or rng.random() < 0.2:
            break
        place = place[key]
    fragment = json_fragment(rng)
    place[key] = "@@"
    return json.dumps(document).replace('"@@"', fragment), f"{path} = {in_short(fragment)}"


@generator("settings", share=100)
def baseline(rng: random.Random, place: Path) -> Case:
    report = material.finished() / "report"
    text, what = _change(rng, json.loads((report / "results.json").read_text()))
    (place / "results.json").write_text(text)
    for name in ("predictions.parquet", "films.csv"):
        shutil.copy(report / name, place / name)
    return either(
        lambda: compare_with_baseline(report, place),
        lambda found: isinstance(found, GateOutcome) and all(map(str.isprintable, found.lines())),
        what=f"baseline: {what}",
    )


@generator("settings", share=70)
def report_manifest(rng: random.Random, place: Path) -> Case:
    names = [
        json.dumps(name) for name in ("index.html", "a/b.png", "../out.txt", "/etc/passwd", "a\0b", "", ".", "x" * 5000)
    ]
    files = f"[{', '.join(rng.choices(names, k=3))}]"
    text = rng.choice(
        [json_fragment(rng), files, f'{{"files": {files}}}', f'{{"files": {json_fragment(rng)}}}', "\0\0"]
    )
    folder = place / "report"
    folder.mkdir()
    (folder / ".report-manifest.json").write_text(text)
    (folder / "index.html").write_text("an earlier page")
    (folder / "mine.txt").write_text("somebody's own")
    (place / "out.txt").write_text("somebody's own")

    def act() -> Path:
        with report_folder(folder) as partial:
            (partial / "index.html").write_text("new")
        return folder

    def right(_: Path) -> bool:
        return (folder / "mine.txt").exists() and (place / "out.txt").exists()

    return either(act, right, what=f".report-manifest.json: {in_short(text)}")


def _unreadable(rng: random.Random, file: Path, good: bytes) -> str:
    """Put something in a file's place that is no such file."""
    kind = rng.choice(["empty", "folder", "pipe", "endless", "utf-16", "random", "huge", "nested", "cut", "binary nul"])
    file.unlink(missing_ok=True)
    if kind == "folder":
        file.mkdir()
    elif kind == "pipe":
        os.mkfifo(file)
    elif kind == "endless":
        file.symlink_to("/dev/zero")
    elif kind == "huge":
        with file.open("wb") as stream:
            stream.truncate(2**33)
    else:
        file.write_bytes({
            "empty": b"", "utf-16": good.decode().encode("utf-16"), "random": rng.randbytes(1000),
            "nested": b"[" * 10**6, "cut": good[: rng.randrange(1, len(good) - 2)].rstrip(), "binary nul": b"\0" * 1000,
        }[kind])  # fmt: skip
    return kind


@generator("settings", share=60)
def no_file_of_settings(rng: random.Random, place: Path) -> Case:
    good = {"config.json": material.CONFIG, "preprocessor_config.json": material.PROCESSOR,
            "temperature.json": _temperature(), "results.json": {"schema": 1}, "claims.toml": None}  # fmt: skip
    name = rng.choice(list(good))
    spec = Path(material.hub_folder(place))
    file = (spec if "config" in name else place) / name
    content = (material.CLAIMS if name == "claims.toml" else json.dumps(good[name])).encode()
    kind = _unreadable(rng, file, content)
    acts = {
        "temperature.json": lambda: read_temperature(file),
        "results.json": lambda: compare_with_baseline(material.finished() / "report", file),
        "claims.toml": lambda: load_claims(file),
    }
    return refused(acts.get(name, lambda: load_subject(str(spec))), what=f"{name}: {kind}", where=name)
