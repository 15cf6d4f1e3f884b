"""How are torchxrayvision's weights read? Its networks rebuilt from torchvision's, its files as tensors, never as code.

`xrv:densenet121-res224-nih` takes the weights that torchxrayvision itself has downloaded; `xrv:PATH?weights=NAME` the
same from any file. Its films are one channel from -1024 to 1024, cropped to a square and resized; of its 18 outputs
those that were not trained have no name, and are left out; a film shows a finding from the finding's own operating
point on (`op_threshs`). torchxrayvision rescales its probabilities so that this point lies at .5; here they stay.

Most of its files are pickles of whole networks; they are read as shells, so that nothing in them is ever run (see
`shells`).

Facts: github.com/mlmed/torchxrayvision, models.py and datasets.py (Cohen et al. 2022, arXiv:2111.00595).
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import unquote

import torch
from torch import nn
from torchvision import models

from suites.harness.errors import SubjectProblem, one_line
from suites.harness.subjects.finding import NormalisedFindings
from suites.harness.subjects.formats.network_size import planned
from suites.harness.subjects.formats.paths import is_file, local_path
from suites.harness.subjects.formats.registry import register
from suites.harness.subjects.formats.shells import Shell, read_shells, state_of
from suites.harness.subjects.formats.tensors import State, filled, is_state
from suites.harness.subjects.formats.weights import read_safetensors, sha256_of_file, tensors_in
from suites.harness.subjects.heads import read_thresholds
from suites.harness.subjects.preprocessing import Preprocessing
from suites.harness.subjects.subject import Provenance, Subject

CACHE = Path("~/.torchxrayvision/models_data")
"""Where torchxrayvision keeps what it downloads."""
PATHOLOGIES = (
    "Atelectasis", "Consolidation", "Infiltration", "Pneumothorax", "Edema", "Emphysema", "Fibrosis", "Effusion",
    "Pneumonia", "Pleural_Thickening", "Cardiomegaly", "Nodule", "Mass", "Hernia", "Lung Lesion", "Fracture",
    "Lung Opacity", "Enlarged Cardiomediastinum",
)  # fmt: skip
"""Its outputs in their order."""
NONE = math.nan
"""Stands for an operating point that is not published, which also says that an output of a DenseNet was not trained."""


@dataclass(frozen=True, kw_only=True)
class Weights:
    """One set of published weights.

    Attributes:
        file: its name.
        thresholds: the operating point of each of `PATHOLOGIES`.
        untrained: those of `PATHOLOGIES` whose output nobody trained.
        architecture: `densenet121` or `resnet50`.
        side: of its input in pixels.
    """

    file: str
    thresholds: tuple[float, ...]
    untrained: frozenset[str] = frozenset()
    architecture: str = "densenet121"
    side: int = 224


def _densenet(trained_on: str, *thresholds: float) -> Weights:
    untrained = frozenset(name for name, one in zip(PATHOLOGIES, thresholds, strict=True) if math.isnan(one))
    return Weights(
        file=f"{trained_on}-densenet121-d121-tw-lr001-rot45-tr15-sc15-seed0-best.pt",
        thresholds=thresholds,
        untrained=untrained,
    )


PUBLISHED: Mapping[str, Weights] = {
    "densenet121-res224-all": _densenet(
        "nih-pc-chex-mimic_ch-google-openi-kaggle",
        0.07422872, 0.038290843, 0.09814756, 0.0098118475, 0.023601074, 0.0022490358, 0.010060724, 0.103246614,
        0.056810737, 0.026791653, 0.050318155, 0.023985857, 0.01939503, 0.042889766, 0.053369623, 0.035975814,
        0.20204692, 0.05015312,
    ),
    "densenet121-res224-nih": _densenet(
        "nih",
        0.039117552, 0.0034529066, 0.11396341, 0.0057298196, 0.00045666535, 0.0018880932, 0.012037827, 0.038744126,
        0.0037213727, 0.014730946, 0.016149804, 0.054241467, 0.037198864, 0.0004403434, NONE, NONE, NONE, NONE,
    ),
    "densenet121-res224-pc": _densenet(
        "pc",
        0.031012505, 0.013347598, 0.081435576, 0.001262615, 0.002587246, 0.0035944257, 0.0023071, 0.055412333,
        0.044385884, 0.042766232, 0.043258056, 0.037629247, 0.005658899, 0.0091741895, NONE, 0.026507627, NONE, NONE,
    ),
    "densenet121-res224-chex": _densenet(
        "chex",
        0.1988969, 0.05710573, NONE, 0.0531293, 0.1435217, NONE, NONE, 0.27212676, 0.07749717, NONE, 0.19712369, NONE,
        NONE, NONE, 0.09932402, 0.09273402, 0.3270967, 0.10888247,
    ),
    "densenet121-res224-rsna": _densenet(
        "kaggle",
        NONE, NONE, NONE, NONE, NONE, NONE, NONE, NONE, 0.13486601, NONE, NONE, NONE, NONE, NONE, NONE, NONE,
        0.13511065, NONE,
    ),
    "densenet121-res224-mimic_nb": _densenet(
        "mimic_nb",
        0.08558747, 0.011884617, NONE, 0.0040595434, 0.010733786, NONE, NONE, 0.118761964, 0.022924708, NONE,
        0.06358637, NONE, NONE, NONE, 0.022143636, 0.017476924, 0.1258702, 0.014020768,
    ),
    "densenet121-res224-mimic_ch": _densenet(
        "mimic_ch",
        0.09121389, 0.010573786, NONE, 0.005023008, 0.003698257, NONE, NONE, 0.08001232, 0.037242252, NONE, 0.05006329,
        NONE, NONE, NONE, 0.019866971, 0.03823637, 0.11303808, 0.0069147074,
    ),
    "resnet50-res512-all": Weights(
        file="pc-nih-rsna-siim-vin-resnet50-test512-e400-state.pt",
        thresholds=(
            0.51570356, 0.50444704, 0.53787947, 0.50723547, 0.5025118, 0.5035252, 0.5038076, 0.51862943, 0.5078151,
            0.50724894, 0.5056339, 0.510706, 0.5053923, 0.5020846, NONE, 0.5080557, 0.5138526, NONE,
        ),
        # Its list names all 18, but its training sets have no labels of these two, and no operating point is published.
        untrained=frozenset({"Lung Lesion", "Enlarged Cardiomediastinum"}),
        architecture="resnet50",
        side=512,
    ),
}  # fmt: skip
"""Name -> weights, as torchxrayvision 1.5 publishes them."""
_OPTIONS = {"weights": "NAME", "classes": "a,b,,d", "thresholds": "0.1,0.2,,0.3"}


_CLASSES = frozenset(
    f"{module}.{name}"
    for module in ("torchxrayvision.models", "torchvision.models.densenet")
    for name in ("DenseNet", "_DenseBlock", "_DenseLayer", "_Transition")
)
"""What its pickled networks are made of, besides torch's own layers."""


@register("xrv:NAME (torchxrayvision) or xrv:PATH?weights=NAME", matches=lambda spec: spec.startswith("xrv:"))
def load_xrv(spec: str) -> Subject:
    """Load weights of torchxrayvision, by the name that it gives them or from a file.

    `?classes=a,b,,d&thresholds=...` says what the outputs of weights of one's own are, an empty name where one was not
    trained; `?weights=NAME` that a file holds those.
    """
    named, options = _parsed(spec)
    published = PUBLISHED.get(options.get("weights", named))
    path = local_path(str(CACHE / published.file)) if published and named in PUBLISHED else local_path(named)
    if not is_file(path):
        raise SubjectProblem(_not_there(spec, named, path))
    published = published or next((one for one in PUBLISHED.values() if one.file == path.name), None)
    state = _state(path)
    outputs, thresholds = _outputs(spec, options, published)
    architecture = published.architecture if published else "resnet50" if "fc.weight" in state else "densenet121"
    side = published.side if published else 224
    make = partial(_NETWORKS[architecture], len(outputs))
    network = filled(make, planned(make, side=side, channels=1, source=path), state, path)
    trained = [index for index, name in enumerate(outputs) if name]
    left = len(outputs) - len(trained)
    notes = ["torchxrayvision's films: one channel from -1024 to 1024, a square from the middle, resized by torch"]
    if left:
        notes.append(f"{left} of its {len(outputs)} outputs have no finding (they were not trained) and are left out")
    recipe = Preprocessing(name="xrv", short_side=side, size=side, channels=1, eight_bit=False)
    return Subject(
        name=named if named in PUBLISHED else path.stem[:60],
        classes=tuple(outputs[index] for index in trained),
        # 2048 p - 1024, for pixels p from 0 to 1.
        network=NormalisedFindings(Trained(network, trained) if left else network, (0.5,), (1 / 2048,)),
        preprocessing=recipe,
        preprocessings={recipe.name: recipe},
        heads="sigmoid",
        thresholds=None if thresholds is None else tuple(thresholds[index] for index in trained),
        provenance=Provenance(
            spec=spec,
            format="xrv",
            source=str(path),
            sha256=sha256_of_file(path),
            architecture=architecture,
            notes=tuple(notes),
        ),
    )


class Trained(nn.Module):
    """A network without the outputs that nobody trained."""

    def __init__(self, network: nn.Module, kept: list[int]) -> None:
        super().__init__()
        self.network, self.kept = network, kept

    def forward(self, pixels: torch.Tensor) -> torch.Tensor:
        """Return (B, F) logits of those that were."""
        logits: torch.Tensor = self.network(pixels)
        return logits[:, self.kept]


def _parsed(spec: str) -> tuple[str, dict[str, str]]:
    named, _, query = spec.removeprefix("xrv:").partition("?")
    options: dict[str, str] = {}
    for part in filter(None, query.split("&")):
        key, _, value = part.partition("=")
        if key not in _OPTIONS:
            shown = one_line(repr(key), 40)
            raise SubjectProblem(f"{one_line(spec, 80)}: no option {shown}; options are {', '.join(_OPTIONS)}")
        options[key] = unquote(value)
    if "weights" in options and options["weights"] not in PUBLISHED:
        raise SubjectProblem(f"{one_line(spec, 80)}: weights is none of {', '.join(PUBLISHED)}")
    return named, options


def _not_there(spec: str, named: str, path: Path) -> str:
    """Return what to do where there is no such file."""
    if named in PUBLISHED:
        kind = "ResNet" if named.startswith("resnet") else "DenseNet"
        return (
            f'{spec}: {path} is not there; with torchxrayvision, python -c "import torchxrayvision as x; '
            f"x.models.{kind}(weights='{named}')\" downloads it, or give xrv:PATH?weights={named}"
        )
    return f"{one_line(spec, 80)}: no such file; torchxrayvision's own weights are {', '.join(PUBLISHED)}"


def _outputs(
    spec: str, options: Mapping[str, str], published: Weights | None
) -> tuple[tuple[str, ...], tuple[float, ...] | None]:
    """Return the finding of every output, empty where it was not trained, and its operating point.

    Raises:
        SubjectProblem: nobody says what the outputs are.
    """
    if "classes" in options:
        names = tuple(name.strip() for name in options["classes"].split(","))
        thresholds = read_thresholds(options.get("thresholds"), spec)
        if thresholds is not None and len(thresholds) != len(names):
            raise SubjectProblem(
                f"{one_line(spec, 80)}: {len(thresholds)} thresholds for {len(names)} outputs; give one for each, "
                "empty where none is published"
            )
        return names, thresholds
    if published is None:
        raise SubjectProblem(
            f"{one_line(spec, 80)}: nothing says which of its outputs were trained; add ?weights=NAME "
            f"({', '.join(list(PUBLISHED)[:3])}, ...) or ?classes=a,b,,d with an empty name for one that was not"
        )
    return tuple("" if name in published.untrained else name for name in PATHOLOGIES), published.thresholds


def _state(path: Path) -> State:
    """Return the weights in a file, be it of tensors or the pickle of a network, under torchvision's names."""
    content = read_safetensors(path) if path.suffix == ".safetensors" else read_shells(path, _CLASSES)
    state = state_of(content) if isinstance(content, Shell) else tensors_in(content, path)[0]
    plain = {key.removeprefix("model."): tensor for key, tensor in state.items() if key != "op_threshs"}
    return plain if is_state(plain) else state


def _densenet121(outputs: int) -> nn.Module:
    network: nn.Module = models.densenet121(weights=None, num_classes=outputs)
    network.get_submodule("features").conv0 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return network


def _resnet50(outputs: int) -> nn.Module:
    network: nn.Module = models.resnet50(weights=None, num_classes=outputs)
    network.conv1 = nn.Conv2d(1, 64, kernel_size=7, stride=2, padding=3, bias=False)
    return network


_NETWORKS: Mapping[str, Callable[[int], nn.Module]] = {"densenet121": _densenet121, "resnet50": _resnet50}
