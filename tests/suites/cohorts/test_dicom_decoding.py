"""DICOM films are shown as DICOM says, or refused with the reason."""

from __future__ import annotations

import struct
import warnings
from io import BytesIO
from pathlib import Path

import numpy as np
import pydicom
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import FileDataset
from pydicom.pixels import apply_voi_lut
from pydicom.uid import (
    DeflatedExplicitVRLittleEndian,
    ExplicitVRBigEndian,
    ExplicitVRLittleEndian,
    ImplicitVRLittleEndian,
    JPEGLSLossless,
    RLELossless,
)

from suites.harness.cohorts.decoding import decode_image
from suites.harness.cohorts.dicom_decoding import display_rule, is_dicom, window_grey
from suites.harness.errors import FilmUnreadable
from tests.suites.cohorts.film_files import STORED, bare, lut, radiograph


def decoded(film: FileDataset, tmp_path: Path) -> np.ndarray:
    path = tmp_path / "film.dcm"
    film.save_as(path)
    return decode_image(path).pixels


def test_window_by_the_standards_own_formula(tmp_path: Path) -> None:
    found = decoded(radiograph(WindowCenter=2000, WindowWidth=1000), tmp_path)
    expected = np.clip((STORED - (2000 - 0.5)) / (1000 - 1) + 0.5, 0, 1)
    np.testing.assert_allclose(found, expected, atol=1e-6)


@pytest.mark.parametrize("function", ["LINEAR", "LINEAR_EXACT", "SIGMOID"])
def test_window_agrees_with_pydicom(function: str) -> None:
    film = radiograph(WindowCenter=1800, WindowWidth=900, VOILUTFunction=function)
    theirs = apply_voi_lut(STORED, film) / 4095
    np.testing.assert_allclose(window_grey(STORED.astype(float), 1800, 900, function), theirs, atol=1e-9)


def test_the_first_of_several_windows_counts(tmp_path: Path) -> None:
    several = decoded(radiograph(WindowCenter=[2000, 500], WindowWidth=[1000, 100]), tmp_path)
    np.testing.assert_array_equal(several, decoded(radiograph(WindowCenter=2000, WindowWidth=1000), tmp_path))


def test_a_window_of_width_one_is_a_threshold() -> None:
    np.testing.assert_array_equal(window_grey(np.array([9.0, 10.0]), 10, 1, "LINEAR"), [0, 1])


def test_monochrome1_is_inverted(tmp_path: Path) -> None:
    window = {"WindowCenter": 2000, "WindowWidth": 1000}
    usual = decoded(radiograph(**window), tmp_path)
    inverse = decoded(radiograph(PhotometricInterpretation="MONOCHROME1", **window), tmp_path)
    np.testing.assert_allclose(inverse, 1 - usual, atol=1e-6)


def test_rescale_comes_before_the_window(tmp_path: Path) -> None:
    scaled = decoded(radiograph(RescaleSlope=2, RescaleIntercept=-100, WindowCenter=3900, WindowWidth=2001), tmp_path)
    expected = np.clip((STORED * 2.0 - 100 - 3899.5) / 2000 + 0.5, 0, 1)
    np.testing.assert_allclose(scaled, expected, atol=1e-6)


def test_signed_values(tmp_path: Path) -> None:
    signed = (STORED.astype(np.int16) - 2048).astype(np.int16)
    found = decoded(radiograph(signed, WindowCenter=0, WindowWidth=1000), tmp_path)
    np.testing.assert_allclose(found, np.clip((signed + 0.5) / 999 + 0.5, 0, 1), atol=1e-6)


@pytest.mark.parametrize("bits", [8, 10, 12, 16])
def test_voi_lut_goes_before_the_window(tmp_path: Path, bits: int) -> None:
    curve = np.round(np.linspace(0, 1, 3000) ** 2 * (2**bits - 1))
    film = radiograph(VOILUTSequence=lut(curve, 500, bits), WindowCenter=1, WindowWidth=2)
    expected = curve[np.clip(STORED.astype(int) - 500, 0, 2999)] / (2**bits - 1)
    np.testing.assert_allclose(decoded(film, tmp_path), expected, atol=1e-6)


def test_a_lut_that_announces_more_bits_than_it_fills_is_not_black(tmp_path: Path) -> None:
    curve = np.arange(4096)
    film = radiograph(VOILUTSequence=lut(curve, 0, 16))
    np.testing.assert_allclose(decoded(film, tmp_path), STORED / 4095, atol=1e-6)


def test_modality_lut_replaces_the_rescale(tmp_path: Path) -> None:
    film = radiograph(ModalityLUTSequence=lut(np.arange(4096)[::-1], 0, 12), WindowCenter=2048, WindowWidth=4096)
    expected = np.clip((4095.0 - STORED - 2047.5) / 4095 + 0.5, 0, 1)
    np.testing.assert_allclose(decoded(film, tmp_path), expected, atol=1e-6)


def test_without_a_window_deep_films_are_shown_between_percentiles(tmp_path: Path) -> None:
    low, high = np.percentile(STORED, [0.5, 99.5])
    expected = np.clip((STORED - low) / (high - low), 0, 1)
    np.testing.assert_allclose(decoded(radiograph(), tmp_path), expected, atol=1e-6)


def test_without_a_window_eight_bits_are_display_values(tmp_path: Path) -> None:
    stored = (STORED >> 5).astype(np.uint8)
    np.testing.assert_allclose(decoded(radiograph(stored, bits=8), tmp_path), stored / 255, atol=1e-6)


@pytest.mark.parametrize(
    ("tags", "rule"),
    [
        ({}, "percentiles 0.5 to 99.5"),
        ({"WindowCenter": 5, "WindowWidth": 9}, "window"),
        ({"WindowCenter": 5, "WindowWidth": 0}, "percentiles 0.5 to 99.5"),
        ({"WindowCenter": 5}, "percentiles 0.5 to 99.5"),
        ({"WindowCenter": "", "WindowWidth": ""}, "percentiles 0.5 to 99.5"),
        ({"BitsStored": 8}, "full range"),
        ({"VOILUTSequence": lut(np.arange(9), 0, 12), "WindowCenter": 5, "WindowWidth": 9}, "VOI LUT"),
    ],
)
def test_the_display_rule_is_named(tags: dict[str, object], rule: str) -> None:
    assert display_rule(radiograph(**tags)) == rule


def test_padding_is_black_and_does_not_count(tmp_path: Path) -> None:
    stored = STORED.copy()
    stored[:10] = 4095
    film = radiograph(stored, PhotometricInterpretation="MONOCHROME2")
    film.add_new(0x00280120, "US", 4095)
    film.add_new(0x00280121, "US", 4090)
    found = decoded(film, tmp_path)
    assert not found[:10].any()
    assert found[10:].max() == 1


def test_overlay_bits_above_the_stored_ones_do_not_show(tmp_path: Path) -> None:
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    with_overlay = STORED | np.where(STORED % 2, 0x8000, 0).astype(np.uint16)
    np.testing.assert_array_equal(
        decoded(radiograph(with_overlay, **window), tmp_path), decoded(radiograph(**window), tmp_path)
    )


def test_colour_captures_become_luma(tmp_path: Path) -> None:
    colour = np.random.default_rng(1).integers(0, 256, (40, 32, 3), dtype=np.uint8)
    film = radiograph(colour, bits=8, SamplesPerPixel=3, PhotometricInterpretation="RGB", PlanarConfiguration=0)
    np.testing.assert_allclose(decoded(film, tmp_path), colour @ np.array([0.299, 0.587, 0.114]) / 255, atol=1e-6)


@pytest.mark.parametrize("syntax", [ImplicitVRLittleEndian, ExplicitVRBigEndian, RLELossless])
def test_transfer_syntaxes_do_not_change_the_film(tmp_path: Path, syntax: pydicom.uid.UID) -> None:
    plain = decoded(radiograph(), tmp_path)
    film = radiograph()
    if syntax == RLELossless:
        film.compress(RLELossless, generate_instance_uid=False)
        found = decoded(film, tmp_path)
    else:
        if syntax == ExplicitVRBigEndian:
            film.PixelData = STORED.astype(">u2").tobytes()
        film.file_meta.TransferSyntaxUID = syntax
        path = tmp_path / "film.dcm"
        pydicom.dcmwrite(path, film, implicit_vr=syntax.is_implicit_VR, little_endian=syntax.is_little_endian)
        found = decode_image(path).pixels
    np.testing.assert_array_equal(found, plain)


BARE = [ImplicitVRLittleEndian, ExplicitVRLittleEndian, ExplicitVRBigEndian]


@pytest.mark.parametrize("name", ["bare.dcm", "bare", "bare.img"])
@pytest.mark.parametrize("syntax", BARE)
def test_a_file_without_preamble_is_read_in_each_encoding_whatever_its_name(
    tmp_path: Path, name: str, syntax: pydicom.uid.UID
) -> None:
    film = radiograph(WindowCenter=2048, WindowWidth=4096)
    content = bare(film, syntax)
    assert content[128:132] != b"DICM"
    assert is_dicom(content)
    assert is_dicom(content[:4096])
    (tmp_path / name).write_bytes(content)
    np.testing.assert_array_equal(decode_image(tmp_path / name).pixels, decoded(film, tmp_path))


@pytest.mark.parametrize("syntax", BARE)
def test_a_preamble_without_the_name_of_an_encoding_is_read_as_the_elements_are(
    tmp_path: Path, syntax: pydicom.uid.UID
) -> None:
    film = radiograph(WindowCenter=2048, WindowWidth=4096)
    meta = struct.pack("<HH2sHI", 2, 0, b"UL", 4, 8 + 8) + struct.pack("<HH2sH8s", 2, 3, b"UI", 8, b"1.2.3.4\0")
    (tmp_path / "film").write_bytes(b"\0" * 128 + b"DICM" + meta + bare(film, syntax))
    np.testing.assert_array_equal(decode_image(tmp_path / "film").pixels, decoded(film, tmp_path))


@pytest.mark.parametrize(
    "content",
    [b"", b"\x08\0", b"\x08\0\0\0", b"\x08\0\x05\0" * 9, b"\0" * 200, b"\x08\0note of eight" * 20, b"PK\3\4" * 50],
)
def test_what_does_not_begin_as_a_data_set_is_no_dicom(content: bytes) -> None:
    assert not is_dicom(content)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"NumberOfFrames": 3}, "3 frames"),
        ({"Modality": "CT"}, "modality CT"),
        ({"PresentationIntentType": "FOR PROCESSING"}, "raw detector values"),
        ({"PhotometricInterpretation": "PALETTE COLOR"}, "photometric interpretation"),
        ({"PresentationLUTShape": "INVERSE"}, "contradicts itself"),
        ({"RescaleSlope": 0, "RescaleIntercept": 5}, "rescale slope 0"),
        ({"WindowCenter": -9000, "WindowWidth": 10}, "no contrast"),
        ({"Rows": 60_000, "Columns": 60_000}, "limit 64 million"),
        ({"Rows": 4000}, "truncated"),
        ({"VOILUTSequence": lut(np.arange(9), 0, 40)}, "lookup table"),
    ],
)
def test_what_is_no_film_is_refused(tmp_path: Path, tags: dict[str, object], reason: str) -> None:
    with pytest.raises(FilmUnreadable, match=reason):
        decoded(radiograph(**tags), tmp_path)


def test_a_data_set_without_pixels_is_refused(tmp_path: Path) -> None:
    film = radiograph()
    del film.PixelData
    with pytest.raises(FilmUnreadable, match="no pixels"):
        decoded(film, tmp_path)


def test_missing_decoder_names_the_compression(tmp_path: Path) -> None:
    film = radiograph()
    film.PixelData = pydicom.encaps.encapsulate([b"\0" * 100])
    film["PixelData"].is_undefined_length = True
    film.file_meta.TransferSyntaxUID = JPEGLSLossless
    with pytest.raises(FilmUnreadable, match="JPEG-LS Lossless"):
        decoded(film, tmp_path)


def test_deflated_bombs_are_not_inflated(tmp_path: Path) -> None:
    film = radiograph()
    film.file_meta.TransferSyntaxUID = DeflatedExplicitVRLittleEndian
    with pytest.raises(FilmUnreadable, match="deflated"):
        decoded(film, tmp_path)


def test_a_text_file_called_dcm_is_refused(tmp_path: Path) -> None:
    (tmp_path / "note.dcm").write_text("not a film" * 100)
    with pytest.raises(FilmUnreadable, match=r"note\.dcm"):
        decode_image(tmp_path / "note.dcm")


@settings(max_examples=100)
@given(data=st.data())
def test_damaged_dicom_gives_a_film_or_a_reason(tmp_path_factory: pytest.TempPathFactory, data) -> None:
    folder = tmp_path_factory.getbasetemp() / "dicom-fuzz"
    folder.mkdir(exist_ok=True)
    buffer = BytesIO()
    radiograph(WindowCenter=2000, WindowWidth=1000).save_as(buffer)
    content = bytearray(buffer.getvalue())
    for position, value in data.draw(st.lists(st.tuples(st.integers(128, 800), st.integers(0, 255)), max_size=8)):
        content[position] = value
    (folder / "film.dcm").write_bytes(bytes(content[: data.draw(st.integers(0, len(content)))]))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        try:
            pixels = decode_image(folder / "film.dcm").pixels
        except FilmUnreadable:
            return
    assert 0 <= pixels.min() <= pixels.max() <= 1
