"""One film, stored in every way that DICOM allows and in some that it does not, is the same film.

The stored values and their grey are computed here from the film's own values, by the formulae of PS3.3 C.11.
"""

from __future__ import annotations

import struct
import tracemalloc
import warnings
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from pydicom.dataset import Dataset
from pydicom.sequence import Sequence
from pydicom.uid import ExplicitVRBigEndian, ExplicitVRLittleEndian, ImplicitVRLittleEndian, RLELossless
from scipy.special import expit

from suites.harness.cohorts.decoding import decode_image
from suites.harness.cohorts.dicom_decoding import display_rule
from suites.harness.cohorts.dicom_display import Modality, _percentile, displayed
from suites.harness.errors import FilmUnreadable
from tests.suites.cohorts.film_files import STORED, bare, lut, radiograph, run_length_encoded, stored_bytes

ROWS, COLUMNS = 24, 20


def read(folder: Path, content: bytes) -> np.ndarray:
    (folder / "film.dcm").write_bytes(content)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        return decode_image(folder / "film.dcm").pixels


def element(tag: int, form: bytes, value: bytes) -> bytes:
    """An attribute of explicit form, whatever pydicom would write."""
    value += b"\0" * (len(value) % 2)
    long = form in (b"OW", b"OB", b"UN", b"SQ")
    head = struct.pack(
        "<HH2sHI" if long else "<HH2sH", tag >> 16, tag & 0xFFFF, form, *((0,) if long else ()), len(value)
    )
    return head + value


def with_elements(film: Dataset, **elements: tuple[bytes, bytes]) -> bytes:
    """The film's file with attributes written as given; a keyword names its tag."""
    whole = stored_bytes(film)
    tags = {"WindowCenter": 0x00281050, "WindowWidth": 0x00281051, "RescaleIntercept": 0x00281052,
            "RescaleSlope": 0x00281053, "PixelPaddingValue": 0x00280120, "VOILUTFunction": 0x00281056}  # fmt: skip
    pixels = whole.index(b"\xe0\x7f\x10\0")
    added = b"".join(element(tags[name], *elements[name]) for name in sorted(elements, key=tags.__getitem__))
    return whole[:pixels] + added + whole[pixels:]


def table_item(first: int, entries: np.ndarray, descriptor: bytes, data: bytes) -> bytes:
    """A sequence of one lookup table whose descriptor and data carry the forms given."""
    packed = entries.astype("<u2").tobytes()
    body = element(0x00283002, descriptor, struct.pack("<HHH", len(entries) & 0xFFFF, first & 0xFFFF, 16))
    body += element(0x00283006, data, packed)
    return element(0x00283010, b"SQ", b"\xfe\xff\0\xe0" + struct.pack("<I", len(body)) + body)


@settings(max_examples=60)
@given(
    signed=st.booleans(), bits=st.integers(8, 16), descriptor=st.sampled_from([b"US", b"SS"]),
    data=st.sampled_from([b"US", b"SS", b"OW", b"UN"]), rising=st.booleans(), seed=st.integers(0, 999),
)  # fmt: skip
def test_a_lookup_table_is_unsigned_and_begins_where_the_film_does(
    tmp_path_factory: pytest.TempPathFactory,
    signed: bool,
    bits: int,
    descriptor: bytes,
    data: bytes,
    rising: bool,
    seed: int,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "tables"
    folder.mkdir(exist_ok=True)
    first = -(2 ** (bits - 1)) if signed else 0
    count = min(2**bits, 2**15)  # an element of explicit form holds less than 64 KiB
    values = np.random.default_rng(seed).integers(first, first + count, (ROWS, COLUMNS))
    curve = np.round(np.linspace(0, 1, count) ** 0.7 * 65535).astype(np.uint16)
    curve = curve if rising else curve[::-1]
    film = radiograph(values.astype(np.int16 if signed else np.uint16), bits=bits)
    whole = stored_bytes(film)
    pixels = whole.index(b"\xe0\x7f\x10\0")
    if data in (b"US", b"SS"):
        count = min(count, 2**14)
        curve = curve[:count]
        curve[0] = 65535
    found = read(folder, whole[:pixels] + table_item(first, curve, descriptor, data) + whole[pixels:])
    expected = curve[np.clip(values - first, 0, len(curve) - 1)] / 65535
    np.testing.assert_allclose(found, expected, atol=1e-6)


@settings(max_examples=60)
@given(data=st.data())
def test_values_lie_where_their_high_bit_says(tmp_path_factory: pytest.TempPathFactory, data: st.DataObject) -> None:
    folder = tmp_path_factory.getbasetemp() / "bits"
    folder.mkdir(exist_ok=True)
    signed, syntax = (
        data.draw(st.booleans()),
        data.draw(st.sampled_from([None, ImplicitVRLittleEndian, ExplicitVRBigEndian])),
    )
    bits = data.draw(st.integers(4, 16))
    high = data.draw(st.integers(bits - 1, 15))
    overlay = data.draw(st.booleans())
    first = -(2 ** (bits - 1)) if signed else 0
    values = np.random.default_rng(bits).integers(first, first + 2**bits, (ROWS, COLUMNS))
    values.flat[0], values.flat[1] = first, first + 2**bits - 1
    words = (values & (2**bits - 1)) << (high + 1 - bits)
    if overlay and high < 15:
        words |= np.where(values % 2, 0x8000, 0)
    film = radiograph(words.astype(np.uint16), bits=bits, HighBit=high)
    film.PixelRepresentation = int(signed)
    centre = first + 2 ** (bits - 1)
    film.WindowCenter, film.WindowWidth, film.VOILUTFunction = centre, 2**bits, "LINEAR_EXACT"
    found = read(folder, bare(film, syntax) if syntax else stored_bytes(film))
    np.testing.assert_allclose(found, np.clip((values - centre) / 2**bits + 0.5, 0, 1), atol=1e-6)


def test_values_that_do_not_lie_where_the_high_bit_says_are_refused(tmp_path: Path) -> None:
    film = radiograph(HighBit=15, WindowCenter=2048, WindowWidth=4096)
    with pytest.raises(FilmUnreadable, match="correct HighBit"):
        read(tmp_path, stored_bytes(film))
    for high in (16, 10):
        film.HighBit = high
        with pytest.raises(FilmUnreadable, match="contradicts itself: 12 bits up to bit"):
            read(tmp_path, stored_bytes(film))


@settings(max_examples=60)
@given(
    function=st.sampled_from(["LINEAR", "LINEAR_EXACT", "SIGMOID"]), centre=st.integers(-500, 4600),
    width=st.integers(1, 9000), slope=st.sampled_from([1.0, -1.0, 0.25, -2.5]), intercept=st.integers(-2000, 2000),
    inverse=st.booleans(),
)  # fmt: skip
def test_a_window_of_any_function_lies_behind_any_slope(
    tmp_path_factory: pytest.TempPathFactory,
    function: str,
    centre: int,
    width: int,
    slope: float,
    intercept: int,
    inverse: bool,
) -> None:
    folder = tmp_path_factory.getbasetemp() / "windows"
    folder.mkdir(exist_ok=True)
    values = STORED * slope + intercept
    centre = int(centre * slope + intercept)
    film = radiograph(
        RescaleSlope=slope, RescaleIntercept=intercept, WindowCenter=centre, WindowWidth=width, VOILUTFunction=function,
        PhotometricInterpretation="MONOCHROME1" if inverse else "MONOCHROME2",
    )  # fmt: skip
    if function == "SIGMOID":
        grey = expit(4 * (values - centre) / width)
    elif function == "LINEAR_EXACT":
        grey = np.clip((values - centre) / width + 0.5, 0, 1)
    elif width == 1:
        grey = (values > centre - 0.5).astype(float)
    else:
        grey = np.clip((values - (centre - 0.5)) / (width - 1) + 0.5, 0, 1)
    grey = 1 - grey if inverse else grey
    try:
        np.testing.assert_allclose(read(folder, stored_bytes(film)), grey, atol=1e-6)
    except FilmUnreadable:
        assert np.ptp(grey) < 1.1 / 255


def test_a_lookup_table_without_data_leaves_the_window(tmp_path: Path) -> None:
    window = {"WindowCenter": 2000, "WindowWidth": 1000}
    plain = read(tmp_path, stored_bytes(radiograph(**window)))
    empty, named = Dataset(), Dataset()
    named.LUTExplanation = "normal"
    described = Dataset()
    described.add_new(0x00283002, "US", [256, 0, 12])
    no_data = Dataset()
    no_data.add_new(0x00283002, "US", [256, 0, 12])
    no_data.add_new(0x00283006, "OW", b"")
    for item in (empty, named, described, no_data):
        film = radiograph(VOILUTSequence=Sequence([item]), **window)
        assert display_rule(film) == "window"
        np.testing.assert_array_equal(read(tmp_path, stored_bytes(film)), plain)
        film = radiograph(ModalityLUTSequence=Sequence([item]), **window)
        np.testing.assert_array_equal(read(tmp_path, stored_bytes(film)), plain)
    sound = lut(np.arange(4096), 0, 12)[0]
    film = radiograph(VOILUTSequence=Sequence([empty, sound]), **window)
    assert display_rule(film) == "VOI LUT"
    np.testing.assert_allclose(read(tmp_path, stored_bytes(film)), STORED / 4095, atol=1e-6)


@pytest.mark.parametrize(
    ("centre", "width", "rule"),
    [
        (b"text", b"1000", "percentiles 0.5 to 99.5"), (b"nan", b"1000", "percentiles 0.5 to 99.5"),
        (b"2000", b"inf", "percentiles 0.5 to 99.5"), (b"2000", b"0", "percentiles 0.5 to 99.5"),
        (b"2000", b"-5", "percentiles 0.5 to 99.5"), (b"2000", b"1e999", "percentiles 0.5 to 99.5"),
        (b"2000", b"1000\\5", "window"), (b"2000\\9\\9", b"1000", "window"), (b"9\\2000", b"0\\1000", "window"),
        (b" 2000 ", b"+1.0E3 ", "window"),
    ],
)  # fmt: skip
def test_a_window_of_no_numbers_is_none(tmp_path: Path, centre: bytes, width: bytes, rule: str) -> None:
    found = read(tmp_path, with_elements(radiograph(), WindowCenter=(b"DS", centre), WindowWidth=(b"DS", width)))
    plain = radiograph(WindowCenter=2000, WindowWidth=1000) if rule == "window" else radiograph()
    np.testing.assert_array_equal(found, read(tmp_path, stored_bytes(plain)))


@pytest.mark.parametrize("value", [b"nan", b"inf", b"-inf", b"1e999", b"text", b"1,5", b"1e308"])
@pytest.mark.parametrize("name", ["RescaleSlope", "RescaleIntercept"])
def test_a_rescale_of_no_numbers_is_refused(tmp_path: Path, name: str, value: bytes) -> None:
    window = {"WindowCenter": (b"DS", b"2000"), "WindowWidth": (b"DS", b"1000")}
    with pytest.raises(FilmUnreadable, match=r"[Rr]escale|no contrast"):
        read(tmp_path, with_elements(radiograph(), **window, **{name: (b"DS", value)}))


@pytest.mark.parametrize(("form", "value"), [(b"US", 63536), (b"SS", -2000), (b"SS", 63536 - 2**16)])
def test_padding_of_signed_pixels_is_signed(tmp_path: Path, form: bytes, value: int) -> None:
    signed = (STORED.astype(np.int32) - 1500).clip(-1500, 2000).astype(np.int16)
    signed[:10] = -2000
    packed = struct.pack("<H", value & 0xFFFF)
    found = read(tmp_path, with_elements(radiograph(signed, bits=16), PixelPaddingValue=(form, packed)))
    low, high = np.percentile(signed[10:], [0.5, 99.5])
    np.testing.assert_allclose(found[10:], np.clip((signed[10:] - low) / (high - low), 0, 1), atol=1e-6)
    assert not found[:10].any()


@pytest.mark.parametrize("share", [0.5, 3.0, 37.7, 99.5])
def test_percentiles_are_those_of_every_pixel(share: float) -> None:
    levels = np.array([5.0, -3.0, 8.0, 7.5])
    counts = np.array([10, 301, 7, 44])
    assert _percentile(levels, counts, share) == pytest.approx(
        np.percentile(np.repeat(levels, counts), share), abs=1e-9
    )


def test_deep_pixels_of_32_bits_are_displayed_too(tmp_path: Path) -> None:
    values = np.random.default_rng(0).integers(0, 2**30, (ROWS, COLUMNS), dtype=np.uint32)
    found = read(tmp_path, stored_bytes(radiograph(values, bits=30)))
    low, high = np.percentile(values, [0.5, 99.5])
    np.testing.assert_allclose(found, np.clip((values - low) / (high - low), 0, 1), atol=1e-6)


@pytest.mark.parametrize(
    ("tags", "reason"),
    [
        ({"PhotometricInterpretation": "HSV"}, "photometric interpretation HSV"),
        ({"PhotometricInterpretation": "ARGB", "SamplesPerPixel": 3}, "photometric interpretation ARGB"),
        ({"PhotometricInterpretation": "RGB"}, "RGB with 1 samples"),
        ({"SamplesPerPixel": 3, "PlanarConfiguration": 0}, "MONOCHROME2 with 3 samples"),
        ({"SamplesPerPixel": 2}, "with 2 samples"),
        ({"PixelRepresentation": 2}, "PixelRepresentation"),
        ({"BitsStored": 17}, "contradicts itself"),
        ({"BitsAllocated": 64}, "contradicts itself"),
        ({"Rows": 0}, "."),
        ({"Columns": 15}, "contradicts itself|at least 16"),
        ({"NumberOfFrames": 2}, "2 frames"),
    ],
)
def test_attributes_that_no_film_has_are_refused(tmp_path: Path, tags: dict[str, object], reason: str) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        content = stored_bytes(radiograph(**tags))
    with pytest.raises(FilmUnreadable, match=reason):
        read(tmp_path, content)


def test_compressed_words_are_shifted_as_others_are(tmp_path: Path) -> None:
    """RLE packs whole words, whatever bits of them are in use."""
    window = {"WindowCenter": 2048, "WindowWidth": 4096}
    film = radiograph((STORED << 4).astype(np.uint16), bits=12, HighBit=15, **window)
    film.compress(RLELossless, generate_instance_uid=False)
    np.testing.assert_array_equal(read(tmp_path, stored_bytes(film)), read(tmp_path, run_length_encoded()))


def test_an_old_file_without_samples_per_pixel_is_grey(tmp_path: Path) -> None:
    film = radiograph(WindowCenter=2048, WindowWidth=4096)
    plain = read(tmp_path, stored_bytes(film))
    del film.SamplesPerPixel
    np.testing.assert_array_equal(read(tmp_path, bare(film, ExplicitVRLittleEndian)), plain)


def test_a_film_is_displayed_in_the_memory_of_a_few_of_its_size() -> None:
    dataset = Dataset()
    dataset.BitsStored, dataset.PixelRepresentation = 12, 0
    stored = (np.arange(2**20, dtype=np.uint32) * 7919 % 4096).astype(np.uint16).reshape(1024, 1024)
    nothing = np.zeros(stored.shape, dtype=bool)
    tracemalloc.start()
    grey = displayed(stored, Modality(dataset), dataset, nothing)
    most = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert most < 10 * stored.size, "what is looked up and the film, 4 bytes a pixel each"
    assert float(grey.min()) == 0.0
    assert float(grey.max()) == 1.0
