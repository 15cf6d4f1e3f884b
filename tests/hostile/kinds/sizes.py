"""What if a size is believed before it is checked?"""

from __future__ import annotations

import json
import random
import zipfile
import zlib
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import torch

from suites.harness import load_cohort, load_subject
from tests.hostile import material
from tests.hostile.case import Case, generator, refused


@generator("sizes", share=30)
def networks_of_a_config(rng: random.Random, place: Path) -> Case:
    huge = rng.choice([
        {"hidden_sizes": [rng.choice([8192, 16384])] * 4, "depths": [rng.choice([1, 30, 3000])] * 4},
        {"depths": [rng.choice([3000, 16384])] * 4, "hidden_sizes": [rng.choice([512, 2048])] * 4},
        {"model_type": "dinov2", "hidden_size": 8192, "num_attention_heads": 8, "patch_size": 4,
         "num_hidden_layers": rng.choice([12, 4000, 8192])},
        {"model_type": "dinov2", "hidden_size": 4096, "num_attention_heads": 8, "patch_size": 4, "num_hidden_layers": 1,
         "mlp_ratio": rng.choice([10**6, 1e9, 1e308])},
    ])  # fmt: skip
    spec = material.hub_folder(place, config=json.dumps(material.CONFIG | huge))
    return refused(lambda: load_subject(spec), what=str(huge), where="weights")


@generator("sizes", share=20)
def inputs_of_a_processor(rng: random.Random, place: Path) -> Case:
    side = rng.choice([5000, 10**6, 2**31, 2**62, 10**18])
    size = rng.choice([{"shortest_edge": side}, {"height": side, "width": side}, side])
    spec = material.hub_folder(place, processor=json.dumps(material.PROCESSOR | {"size": size}))
    return refused(lambda: load_subject(spec), what=f"size {size}", where="preprocessor_config.json")


@generator("sizes", share=30)
def timm_settings(rng: random.Random, place: Path) -> Case:
    torch.save(dict(material.timm_state()), place / "model.pth")
    number = rng.choice(["huge", "0", "-1", "1e9", str(10**6), str(2**63), "9" * 5000, "4097", "1_0"])
    setting = rng.choice(["size", "channels", "short_side", "mean", "std"])
    spec = f"timm:{material.TIMM}?checkpoint={place / 'model.pth'}&classes=normal,pneumonia&{setting}={number}"
    if (setting, number) in (("short_side", "4097"), ("mean", "0"), ("mean", "-1")) or setting in ("mean", "std"):
        spec += ",1"  # two numbers for three channels
    return refused(lambda: load_subject(spec), what=f"{setting}={number[:30]}", where=f"{setting}|model.pth")


@generator("sizes", share=6)
def large_timm_networks(rng: random.Random, place: Path) -> Case:
    """Weights of a small network under the name of a large one: seen before it is built."""
    torch.save(dict(material.timm_state()), place / "model.pth")
    name = rng.choice(
        [
            "vit_giant_patch14_dinov2",
            "convnextv2_huge",
            "eva02_enormous_patch14_clip_224",
            "vit_gigantic_patch14_clip_224",
        ]
    )
    spec = material.timm_spec(place / "model.pth", name=name)
    return refused(lambda: load_subject(spec), what=name, where="model.pth|size")


@generator("sizes", share=30)
def simulated_films(rng: random.Random, place: Path) -> Case:
    number = rng.choice(
        [str(10 ** rng.randint(7, 18)), str(2**63), "9" * 5000, "0", "-3", "1e3", "2.5", "", "x" * 5000, "½"]
    )
    key = rng.choice(["n", "n", "seed"]) if number.startswith("9" * 100) or not number.isdecimal() else "n"
    return refused(lambda: load_cohort(f"phantom:{key}={number}"), what=f"{key}={number[:30]}", where=f"{key}")


def _bomb(place: Path, gigabytes: int) -> Path:
    """Write a checkpoint whose one tensor inflates to gigabytes from a few megabytes."""
    good = place / "good.pth"
    torch.save({"state_dict": {"model.fc.weight": torch.zeros(3, 3)}}, good)
    packer = zlib.compressobj(9, zlib.DEFLATED, -15)
    block = packer.compress(bytes(2**24)) + packer.flush(zlib.Z_FULL_FLUSH)
    packed, size = block * (64 * gigabytes) + packer.flush(zlib.Z_FINISH), gigabytes * 2**30
    file = place / "bomb.ckpt"
    with zipfile.ZipFile(good) as source, zipfile.ZipFile(file, "w") as target:
        for entry in source.infolist():
            if entry.filename.endswith("data.pkl"):
                _store(target, entry.filename, packed, size)
            else:
                target.writestr(entry, source.read(entry))
    return file


def _store(target: zipfile.ZipFile, name: str, packed: bytes, size: int) -> None:
    """Store deflated bytes as they are, with the size they inflate to."""
    entry = zipfile.ZipInfo(name)
    entry.compress_type, entry.file_size, entry.compress_size, entry.CRC = (
        zipfile.ZIP_STORED,
        len(packed),
        len(packed),
        0,
    )
    entry.header_offset = target.fp.tell()
    target.fp.write(
        b"PK\x03\x04\x14\x00\x00\x00\x08\x00"
        + bytes(4)
        + bytes(4)
        + len(packed).to_bytes(4, "little")
        + min(size, 2**32 - 1).to_bytes(4, "little")
        + len(name).to_bytes(2, "little")
        + b"\0\0"
        + name.encode()
    )
    target.fp.write(packed)
    entry.compress_type, entry.file_size = zipfile.ZIP_DEFLATED, size
    target.filelist.append(entry)
    target.NameToInfo[name] = entry
    target.start_dir = target.fp.tell()
    target._didModify = True


@generator("sizes", share=3)
def bombs_of_weights(rng: random.Random, place: Path) -> Case:
    file = _bomb(place, rng.choice([2, 3]))
    spec = str(file) if rng.random() < 0.5 else material.timm_spec(file)
    return refused(lambda: load_subject(spec), what="a checkpoint that inflates", where="bomb.ckpt")


@generator("sizes", share=6)
def bombs_of_parquet(rng: random.Random, place: Path) -> Case:
    """Few bytes, many rows or long ones: every cell points to one text of a dictionary."""
    rows, length = rng.choice([(10**6, 10**4), (3 * 10**6, 2000), (200, 80 * 2**20)])
    column = pa.DictionaryArray.from_arrays(pa.array([0] * rows, pa.int32()), pa.array(["x" * length]))
    table = pa.table({"file": column, "label": pa.array(["normal"] * rows)})
    pq.write_table(table, place / "films.parquet", store_schema=rng.random() < 0.5, compression="zstd")
    spec = str(place / "films.parquet")
    return refused(lambda: load_cohort(spec), what=f"{rows} rows of {length} characters", where="films.parquet")


@generator("sizes", share=6)
def long_cells(rng: random.Random, place: Path) -> Case:
    column, length = rng.choice(["file", "patient", "label", "view", "note"]), rng.choice([10, 80]) * 2**20
    cells = {"file": "a.png", "label": "normal", "patient": "p1"} | {column: "x" * length}
    text = f"{','.join(cells)}\n{','.join(cells.values())}\n"
    (place / "films.csv").write_text(text)
    return refused(
        lambda: load_cohort(str(place / "films.csv")), what=f"{column} of {length} letters", where="films.csv"
    )


@generator("sizes", share=6)
def many_columns(rng: random.Random, place: Path) -> Case:
    count = rng.choice([10**5, 10**6])
    header = "file,label," + ",".join(f"c{number}" for number in range(count))
    (place / "films.csv").write_text(f"{header}\na.png,normal{',1' * count}\n")
    return refused(lambda: load_cohort(str(place / "films.csv")), what=f"{count} columns", where="films.csv")
