"""What if a spec, a name or the value of an option is one that no file, no user and no library has?"""

from __future__ import annotations

import random
from pathlib import Path
from typing import Any

from suites.harness import evaluate, load_claims, load_cohort, load_subject, read_temperature
from tests.hostile import material
from tests.hostile.case import Case, accepted, either, generator, refused
from tests.hostile.command import Finished, suites


def _name(rng: random.Random) -> str:
    """Return a name that leads nowhere."""
    long = "x" * rng.choice([256, 300, 5000, 10**6])
    return rng.choice([
        long, f"{long}/films.csv", f"~nobody{rng.randrange(99)}/films", "~" + long, "a\0b", "films\udcff.csv",
        "a\nb.csv",
        "\x1b[31mfilms", "", " ", "/", "//\\\\", "../" * 2000, "a/" * 3000, "\u202efilms", "-", "?", "??", "?a", "*",
        "%s%n",
    ])  # fmt: skip


@generator("names", share=90)
def of_weights(rng: random.Random, place: Path) -> Case:
    name = _name(rng)
    form = rng.choice(["{}", "{}.ckpt", "hf:{}", "hf:owner/{}", "timm:{}", "timm:resnet18?checkpoint={}&classes=a,b",
                       "{}:factory", "module:{}", "bundled:{}", "http://{}", "http://[{}", "bundled:fragile?layer={}",
                       "timm:resnet18?classes=a,b&checkpoint={}&layer=" + "x" * 3000])  # fmt: skip
    spec = form.format(name)
    if "http" in form and "[" not in form:
        spec = f"http://{name}:99999999"
    return refused(lambda: load_subject(spec), what=spec[:80])


@generator("names", share=90)
def of_films(rng: random.Random, place: Path) -> Case:
    name = _name(rng)
    spec = rng.choice(["{}", "{}.csv", "{}.parquet", "phantom:{}", "phantom:view={}", "phantom:findings={}",
    "phantom?{}", "phantom?split={}",
                       "phantom?x={}&y=1", "phantom?layout={}", "kaggle{}"]).format(name)  # fmt: skip
    if spec in ("/", "phantom?layout=", "phantom:", "phantom?", "phantom:findings=", "phantom??"):
        spec = "nothing at all"
    return refused(lambda: load_cohort(spec), what=spec[:80])


@generator("names", share=40)
def of_files(rng: random.Random, place: Path) -> Case:
    name, read = _name(rng), rng.choice([load_claims, read_temperature])
    return refused(lambda: read(Path(name)), what=f"{read.__name__} {name[:60]!r}")


@generator("names", share=40)
def filters(rng: random.Random, place: Path) -> Case:
    """Filters repeated, encoded wrongly, of columns that are not there; a repeated one means the same as one."""
    for number in range(4):
        material.png(place / "films" / ("normal" if number % 2 else "pneumonia") / f"{number}.png", number)
    times = rng.choice([1, 10, 1000])
    query = "&".join(["label=normal"] * times)
    if rng.random() < 0.4:
        return accepted(
            lambda: load_cohort(f"{place}/films?{query}"), lambda found: len(found) == 2, what=f"{times} filters"
        )
    key = rng.choice(
        [
            "label=x",
            "nothing=1",
            "label!=normal&label=normal",
            "=",
            "label",
            "label=%ff",
            "label=%00",
            "x" * 9000 + "=1",
        ]
    )
    query = "&".join([key] * times)
    return refused(lambda: load_cohort(f"{place}/films?{query}"), what=f"{times} times {key[:40]}")


@generator("names", share=24)
def of_files_in_folders(rng: random.Random, place: Path) -> Case:
    """Names that cannot be printed are films like others."""
    count = 0
    for label in ("normal", "pneumonia"):
        for name in rng.sample(
            ["a\nb.png", "\x1b[1m.png", "é.png", "=1+1.png", "<b>.png", "a'b\".png", "x" * 200 + ".png", "b\\c.png"], 4
        ):
            material.png(place / "films" / label / name, count)
            count += 1
        odd = bytes(place / "films" / label) + b"/\xff\xfe.png"
        Path(odd.decode(errors="surrogateescape")).write_bytes(next((place / "films" / label).iterdir()).read_bytes())
        count += 1

    def right(found: Any) -> object:
        films = [found.decode(row) for row in found.rows()]
        plain = all(str(value).isprintable() for value in found.table[["id", "file"]].to_numpy().ravel())
        return len(films) == count and plain

    return accepted(lambda: load_cohort(str(place / "films")), right, what="files whose names are odd")


@generator("names", share=40)
def arguments_of_evaluate(rng: random.Random, place: Path) -> Case:
    key, value = rng.choice([
        ("seed", rng.choice([2**64, -1, 10**400, 2**63])), ("device", rng.choice(["hpu", "cuda:99", "", "gpu",
        "cpu:-1", "x" * 5000, "meta"])),
        ("profile", rng.choice(["fast", "", "x" * 5000])), ("preset", rng.choice(["none", "", "x\ny"])), ("limit",
        rng.choice([0, -5])),
        ("preprocessing", rng.choice(["mine", "x" * 5000, "a\nb"])), ("temperature", _name(rng)), ("probes",
        {"adult": _name(rng) + "?a"}),
        ("probes", {"sideways": "phantom:n=9"}), ("claims", Path(_name(rng))), ("cache", place / ("x" * 300)),
    ])  # fmt: skip
    options: dict[str, Any] = {"claims": material.claims_file(), "cache": place / "cache", key: value}

    def act() -> Any:
        return evaluate("bundled:fragile", str(material.films_folder()), **options)

    return either(
        act, lambda run: key in ("seed", "preset") and len(run.judgements) == 2, what=f"{key} = {str(value)[:60]}"
    )


@generator("names", share=16)
def options(rng: random.Random, place: Path) -> Case:
    """Command lines."""
    (place / "claims.toml").write_text(material.CLAIMS)
    (place / "conftest.py").write_text("def pytest_addoption(parser):\n    parser.addoption('--data')\n")
    usual = {
        "--weights": "bundled:fragile",
        "--data": str(material.films_folder()),
        "--claims": "claims.toml",
        "--cache": "cache",
    }
    words = rng.choice([
        {"--seed": "9" * 30}, {"--seed": "nothing"}, {"--device": "hpu"}, {"--limit": "0"}, {"--limit": "9" * 5000},
        {"--junitxml": "/nowhere/at/all.xml"}, {"--junitxml": "/dev/full"}, {"-k": "nothing_like_this"},
        {"--data": "~nobody/films"},
        {"--data": "x" * 5000}, {"--baseline": "/dev/zero"}, {"--claims": "/dev/zero"},
        {"--temperature": "claims.toml"},
        {"--report": "/proc/report"}, {"--model-card": "/proc/card.md"}, {"--cache": "/proc/cache"},
        {"--preset": "nothing"},
        {"--profile": "fast"}, {"--probe-adult": "x\ny"}, {"-k": "good and ("}, {"-m": "("}, {"--weights": "a\nb"},
    ])  # fmt: skip
    given = [f"{key}={value}" if key.startswith("--") else f"{key} {value}" for key, value in (usual | words).items()]
    split = [part for word in given for part in ([word] if word.startswith("--") else word.split(" ", 1))]
    return refused(lambda: suites(place, *split), what=str(words)[:100])


@generator("names", share=6)
def options_that_are_odd(rng: random.Random, place: Path) -> Case:
    """Odd, but they work: a terminal that is switched off, a conftest.py beside the data, another home."""
    (place / "claims.toml").write_text(material.CLAIMS)
    (place / "conftest.py").write_text("raise SystemExit('this was run')\n")
    usual = ["--weights=bundled:fragile", f"--data={material.films_folder()}", "--claims=claims.toml", "--cache=cache"]
    words = rng.choice(
        [
            ["-p", "no:terminal"],
            ["-q", "-q"],
            ["--report=out"],
            ["--seed=-1"],
            ["--color=yes"],
            ["-x"],
            ["-p", "no:junitxml"],
        ]
    )

    def right(found: Finished) -> object:
        return found.code in (0, 1) or found.text[-300:]

    return either(lambda: suites(place, *usual, *words, environment={"HOME": "/proc/1"}), right, what=str(words))
