"""How does one train against exactly what is tested? Every perturbation as an albumentations transform.

    import albumentations as A
    from robustness.transforms import FilmPerturbation

    train = A.Compose([FilmPerturbation("grid_stripes", severities=(1, 2, 3), p=0.3), A.HorizontalFlip()], seed=0)
    film = train(image=film)["image"]

Works on grey images (H, W), (H, W, 1), or (H, W, 3) with equal channels, 8 bit or float32 in [0, 1]. Transforms
compose, pickle, and survive `albumentations.to_dict` and `from_dict`. Importing this module imports albumentations.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray

from robustness.perturbation import PerturbationError, PerturbationUndefined, get

os.environ.setdefault("NO_ALBUMENTATIONS_UPDATE", "1")  # else importing it asks the network for its own version
with warnings.catch_warnings():
    warnings.simplefilter("ignore", DeprecationWarning)
    import albumentations as A

Image = NDArray[Any]


class FilmPerturbation(A.ImageOnlyTransform):  # type: ignore[misc] # the base class is untyped
    """A perturbation of this project as an albumentations transform.

    Args:
        perturbation: its name, see `robustness.names`.
        severities: drawn from uniformly at each call.
        undefined: what to do with a film for which the perturbation is undefined: "raise", or "keep" it as it is
            (sensible in training only).
        field_cm: centimetres of the patient along the shorter side of the film.
        p: probability of being applied.

    Raises:
        ValueError: unknown perturbation, severity outside 1..5, or another argument out of range.
    """

    # No InitSchema: the library's check would only warn of an unknown argument and drop it; plain Python refuses it.

    def __init__(
        self,
        perturbation: str,
        severities: Sequence[int] = (1, 2, 3, 4, 5),
        undefined: str = "raise",
        field_cm: float = 22.0,
        p: float = 0.5,
    ) -> None:
        super().__init__(p=p)
        get(perturbation, field_cm=field_cm)
        if not severities or any(severity not in (1, 2, 3, 4, 5) for severity in severities):
            raise PerturbationError(f"severities are {severities}; expected some of 1, 2, 3, 4, 5")
        if undefined not in {"raise", "keep"}:
            raise PerturbationError(f"undefined is {undefined!r}; expected 'raise' or 'keep'")
        self.perturbation = perturbation
        self.severities = tuple(severities)
        self.undefined = undefined
        self.field_cm = field_cm

    def get_params(self) -> dict[str, Any]:
        """Severity and identity of the film for this call, from the transform's own generator."""
        return {"severity": self.py_random.choice(self.severities), "image_id": f"{self.py_random.getrandbits(64):x}"}

    def apply(self, img: Image, severity: int = 0, image_id: str = "", **_: object) -> Image:
        """Perturb one image.

        Raises:
            PerturbationError: channels differ, or the values are not those of a film.
        """
        film = torch.from_numpy(np.ascontiguousarray(_one_channel(img)))
        try:
            changed = get(self.perturbation, field_cm=self.field_cm)(film[None], severity, [image_id])[0].numpy()
        except PerturbationUndefined:
            if self.undefined == "raise":
                raise
            return img
        if img.ndim == 2:
            return changed
        return np.repeat(changed[..., None], img.shape[2], axis=2)

    def get_transform_init_args_names(self) -> tuple[str, ...]:
        """Arguments that serialisation keeps."""
        return ("perturbation", "severities", "undefined", "field_cm")


def _one_channel(image: Image) -> Image:
    """(H, W) of an image whose channels are equal."""
    if image.ndim == 2:
        return image
    first = image[..., 0]
    if image.ndim != 3 or any(not np.array_equal(first, image[..., channel]) for channel in range(1, image.shape[2])):
        raise PerturbationError(f"image of shape {image.shape} has channels that differ; radiographs are grey")
    return first


def exact(perturbation: str, severity: int, image_id: str, image: Image) -> Image:
    """The very film a suite tests: one severity, one identity.

    Args:
        perturbation: name.
        severity: 1 to 5.
        image_id: as in the cohort.
        image: as for `FilmPerturbation`.
    """
    return FilmPerturbation(perturbation, p=1.0).apply(image, severity=severity, image_id=image_id)
