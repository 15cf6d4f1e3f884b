"""Licence, library and base model come from beside the weights, and from nowhere else."""

from __future__ import annotations

import pytest

from suites.harness.subjects.formats.recorded import recorded

CARD = """---
license: apache-2.0  # as the base
library_name: "transformers"
base_model:
- facebook/convnextv2-tiny-22k-224
tags:
- license: none
model-index:
- name: x
---
license: mit
"""


def test_a_card_beside_the_weights_is_believed(tmp_path):
    (tmp_path / "README.md").write_text(CARD)
    assert recorded(tmp_path, {"_name_or_path": "other/base"}) == {
        "license": "apache-2.0",
        "library_name": "transformers",
        "base_model": ["facebook/convnextv2-tiny-22k-224"],
    }


@pytest.mark.parametrize(
    "card", ["", "license: mit\n", "---\nlicense: [a, {b: c}]\n---\n", "---\nlicense:\n---\n", "---\nx: " + "[" * 9000]
)
def test_what_is_not_recorded_is_left_out(tmp_path, card):
    (tmp_path / "README.md").write_text(card)
    assert recorded(tmp_path, {}) == {}


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"_name_or_path": "facebook/convnextv2-tiny", "transformers_version": "4.57"},
         {"base_model": "facebook/convnextv2-tiny", "library_name": "transformers"}),
        ({"_name_or_path": "outputs/checkpoint-500"}, {}),
        ({"_name_or_path": "/home/jane/model"}, {}),
        ({"_name_or_path": "me/mine"}, {}),
        ({"_name_or_path": 3}, {}),
    ],
)  # fmt: skip
def test_a_configuration_names_its_base_where_that_is_a_repository(tmp_path, config, found):
    assert recorded(tmp_path, config, "me/mine") == found
