"""Settings every test shares: warnings are errors here, and the real films are optional."""

from __future__ import annotations

import gc
import os
from pathlib import Path

import pytest
from hypothesis import settings

# How long an example takes says something about the machine and its other work, nothing about the code.
settings.register_profile("any machine", deadline=None)
settings.load_profile("any machine")


def pytest_configure(config: pytest.Config) -> None:
    """Turn warnings into errors for our tests only: a user's run must not die of a library's warning."""
    config.addinivalue_line("filterwarnings", "error")
    config.addinivalue_line("filterwarnings", "default::DeprecationWarning")
    config.addinivalue_line("filterwarnings", "default::PendingDeprecationWarning")


def pytest_collection_finish() -> None:
    """Leave all that is imported by now out of the collector's rounds.

    Nothing of it is ever freed, and libraries (statsmodels, in every call) ask for full rounds, each of a third of a
    second over the objects of torch, scipy and pandas.
    """
    gc.collect()
    gc.freeze()


def pytest_unconfigure() -> None:
    """Have the collector see everything again before the end, else torch's bindings speak of leaks."""
    gc.unfreeze()


@pytest.fixture(scope="session")
def shared() -> Path:
    """Return the folder with the real films and weights, or skip the test with the reason."""
    folder = os.environ.get("CHEST_XRAY_SHARED")
    if not folder or not Path(folder).is_dir():
        pytest.skip("CHEST_XRAY_SHARED does not name a folder with the real films and weights")
    return Path(folder)
