"""Reading images: pictures, arrays, tables; and what is none of them."""

from __future__ import annotations

import struct
import sys
import zlib
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest

from mfn import _image_files
from mfn._image_files import Image, UnreadableError, image_of_array, read_image

LUMA = np.array([0.2126, 0.7152, 0.0722])


@pytest.fixture(scope="module")
def pillow() -> Any:
    return pytest.importorskip("PIL.Image", reason="reading pictures needs Pillow, an extra")


def grey(kind: type = np.uint8, shape: tuple[int, ...] = (7, 11)) -> npt.NDArray[Any]:
    return np.random.default_rng(1).integers(0, np.iinfo(kind).max, shape, dtype=kind, endpoint=True)


def saved(pillow: Any, path: Path, pixels: npt.NDArray[Any], mode: str | None = None, **options: Any) -> Path:
    image = pillow.fromarray(pixels)
    (image if mode is None else image.convert(mode)).save(path, **options)
    return path


@pytest.mark.parametrize("suffix", ["png", "tif", "TIFF"])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_levels_are_read_as_they_are_stored(pillow: Any, tmp_path: Path, suffix: str, kind: type) -> None:
    pixels = grey(kind)
    image = read_image(saved(pillow, tmp_path / f"grey.{suffix}", pixels))
    assert np.array_equal(image.frames, pixels)
    assert (image.unit, image.full_scale, image.pages) == ("level", float(np.iinfo(kind).max), 1)
    assert image.kind.startswith(f"{8 * np.dtype(kind).itemsize} bit grey ")
    assert image.alpha is None


def test_big_endian_and_float_tiffs_are_read(pillow: Any, tmp_path: Path) -> None:
    pixels = grey(np.uint16)
    path = tmp_path / "big.tif"
    pillow.frombytes("I;16B", (11, 7), pixels.astype(">u2").tobytes()).save(path)
    assert np.array_equal(read_image(path).frames, pixels)
    numbers = np.random.default_rng(2).normal(size=(7, 11)).astype(np.float32)
    image = read_image(saved(pillow, tmp_path / "float.tif", numbers))
    assert np.array_equal(image.frames, numbers)
    assert (image.unit, image.kind) == ("1", "32 bit float grey TIFF")


def tiff(pixels: npt.NDArray[Any], *, white_is_zero: bool = False, orientation: int = 1) -> bytes:
    """A TIFF as its specification has it: one strip, not compressed, of whole numbers in little-endian order."""
    rows, columns = pixels.shape
    strip = pixels.tobytes()
    fields = (
        *((256, columns), (257, rows), (258, 8 * pixels.itemsize), (259, 1), (262, 0 if white_is_zero else 1)),
        *((273, 8), (274, orientation), (277, 1), (278, rows), (279, len(strip))),
        (339, 2 if pixels.dtype.kind == "i" else 1),
    )
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in fields)
    where = 8 + len(strip)
    return struct.pack("<2sHI", b"II", 42, where) + strip + struct.pack("<H", len(fields)) + entries + bytes(4)


@pytest.mark.parametrize("kind", [np.int8, np.int16, np.int32, np.uint8, np.uint16, np.uint32])
def test_whole_numbers_of_a_tiff_keep_their_sign_and_size(pillow: Any, tmp_path: Path, kind: type) -> None:
    ends = np.iinfo(kind)
    pixels = np.linspace(ends.min, ends.max, 35, dtype=kind).reshape(5, 7)
    path = tmp_path / "numbers.tif"
    path.write_bytes(tiff(pixels))
    image = read_image(path)
    assert np.array_equal(image.frames, pixels)
    assert (image.unit, image.full_scale) == (("level", ends.max) if kind in (np.uint8, np.uint16) else ("1", 1.0))


@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_a_tiff_whose_white_is_zero_is_turned_round(pillow: Any, tmp_path: Path, kind: type) -> None:
    pixels = grey(kind)
    path = tmp_path / "negative.tif"
    path.write_bytes(tiff(pixels, white_is_zero=True))
    assert np.array_equal(read_image(path).frames, np.iinfo(kind).max - pixels)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg"])
def test_a_photograph_is_turned_as_its_camera_was(pillow: Any, tmp_path: Path, suffix: str) -> None:
    smooth = np.add.outer(2 * np.arange(32), np.arange(64)).astype(np.uint8)
    path = tmp_path / f"turned.{suffix}"
    turned = pillow.Exif()
    turned[274] = 6  # the first row is at the right
    pillow.fromarray(smooth).save(path, exif=turned)
    image = read_image(path)
    assert image.frames.shape == (64, 32)
    assert image.frames == pytest.approx(np.rot90(smooth, -1).astype(float), abs=8 if suffix == "jpg" else 0)


def test_pixels_of_the_one_transparent_level_are_background_at_either_depth(pillow: Any, tmp_path: Path) -> None:
    for kind in (np.uint8, np.uint16):
        pixels = grey(kind)
        clear = int(pixels[0, 0])
        image = read_image(saved(pillow, tmp_path / "clear.png", pixels, transparency=clear))
        assert image.alpha is not None
        assert np.array_equal(image.alpha == 0.0, pixels == clear)
        assert np.array_equal(image.frames, pixels)


def test_a_palette_may_be_translucent(pillow: Any, tmp_path: Path) -> None:
    pixels = np.indices((4, 6)).sum(axis=0).astype(np.uint8) % 2
    picture = pillow.fromarray(pixels).convert("P")
    picture.putpalette([200, 200, 200, 10, 10, 10])
    picture.save(tmp_path / "palette.png", transparency=bytes([51, 255]))
    image = read_image(tmp_path / "palette.png")
    assert image.alpha is not None
    assert image.alpha == pytest.approx(np.where(pixels == 0, 0.2, 1.0))


def test_a_black_and_white_picture_has_the_levels_of_black_and_white(pillow: Any, tmp_path: Path) -> None:
    pixels = grey() > 100
    image = read_image(saved(pillow, tmp_path / "bits.png", pixels))
    assert np.array_equal(image.frames, pixels * 255)


def test_colours_become_luma(pillow: Any, tmp_path: Path) -> None:
    pixels = grey(shape=(7, 11, 3))
    for suffix in ("png", "tif"):
        image = read_image(saved(pillow, tmp_path / f"colour.{suffix}", pixels))
        assert image.frames == pytest.approx(pixels @ LUMA)
        assert image.unit == "level"
    few = np.array([(200, 0, 100), (0, 10, 250)], np.uint8)[np.indices((4, 6)).sum(axis=0) % 2]
    pillow.fromarray(few).quantize(8).save(tmp_path / "palette.png")
    with pillow.open(tmp_path / "palette.png") as opened:
        assert opened.mode == "P"
    assert read_image(tmp_path / "palette.png").frames == pytest.approx(few @ LUMA)


def test_a_grey_picture_in_colour_has_the_same_levels_to_the_last_bit(pillow: Any, tmp_path: Path) -> None:
    pixels = np.arange(256, dtype=np.uint8).reshape(16, 16)
    image = read_image(saved(pillow, tmp_path / "colour.png", np.repeat(pixels[..., None], 3, axis=2)))
    assert np.array_equal(image.frames, pixels)
    deep = np.arange(65536, dtype=np.uint16).reshape(256, 256)
    assert np.array_equal(image_of_array(np.repeat(deep[..., None], 3, axis=2)).frames, deep)


def test_a_jpeg_is_read_nearly_as_it_was(pillow: Any, tmp_path: Path) -> None:
    smooth = np.add.outer(np.arange(64), np.arange(64)).astype(np.uint8)
    image = read_image(saved(pillow, tmp_path / "smooth.jpg", smooth, quality=95))
    assert image.frames == pytest.approx(smooth.astype(float), abs=8)
    assert image.kind == "8 bit grey JPEG"


@pytest.mark.parametrize("mode", ["LA", "RGBA"])
def test_opacity_is_read_where_something_is_transparent(pillow: Any, tmp_path: Path, mode: str) -> None:
    pixels = np.dstack([grey(shape=(6, 5, 3)), np.full((6, 5), 255, np.uint8)])
    opaque = read_image(saved(pillow, tmp_path / "opaque.png", pixels, mode))
    assert opaque.alpha is None
    pixels[2, 3, 3] = 51
    image = read_image(saved(pillow, tmp_path / "clear.png", pixels, mode))
    assert image.alpha is not None
    assert image.alpha[2, 3] == pytest.approx(0.2)
    assert image.alpha[0, 0] == 1.0
    assert "with alpha" in image.kind


def test_pages_of_a_tiff_are_counted_from_one(pillow: Any, tmp_path: Path) -> None:
    pages = [np.full((4, 6), level, np.uint8) for level in (10, 20, 30)]
    first, *others = (pillow.fromarray(page) for page in pages)
    path = tmp_path / "pages.tif"
    first.save(path, save_all=True, append_images=others)
    for number, page in enumerate(pages, 1):
        image = read_image(path, page=number)
        assert np.array_equal(image.frames, page)
        assert (image.page, image.pages) == (number, 3)
    assert read_image(path).page == 1
    for wrong in (0, 4):
        with pytest.raises(ValueError, match=f"pages.tif has no page {wrong}; there are 3 pages, counted from 1"):
            read_image(path, page=wrong)


def test_a_picture_without_pages_has_one(pillow: Any, tmp_path: Path) -> None:
    path = saved(pillow, tmp_path / "grey.png", grey())
    assert read_image(path, page=1).page == 1
    with pytest.raises(ValueError, match=r"grey.png has no page 2; there is one page"):
        read_image(path, page=2)


def test_an_array_file_gives_its_array(tmp_path: Path) -> None:
    field = np.random.default_rng(3).normal(size=(5, 6))
    np.save(tmp_path / "field.npy", field)
    np.savez(tmp_path / "one.npz", field)
    np.savez_compressed(tmp_path / "two.npz", field=field, other=field + 1)
    assert np.array_equal(read_image(tmp_path / "field.npy").frames, field)
    assert np.array_equal(read_image(tmp_path / "one.npz").frames, field)
    assert np.array_equal(read_image(tmp_path / "two.npz", array="other").frames, field + 1)
    image = read_image(tmp_path / "field.npy")
    assert (image.unit, image.kind) == ("1", "float64 array")
    with pytest.raises(ValueError, match=r"two.npz has 2 arrays; choose one of: field, other"):
        read_image(tmp_path / "two.npz")
    with pytest.raises(ValueError, match=r"two.npz has no array 'fields'; there is: field, other"):
        read_image(tmp_path / "two.npz", array="fields")
    with pytest.raises(ValueError, match=r"an array has a name in an .npz file alone; field.npy is none"):
        read_image(tmp_path / "field.npy", array="field")


def test_a_history_is_several_frames_of_which_one_may_be_chosen(tmp_path: Path) -> None:
    history = np.random.default_rng(3).normal(size=(4, 5, 6))
    np.save(tmp_path / "history.npy", history)
    image = read_image(tmp_path / "history.npy")
    assert np.array_equal(image.frames, history)
    assert (image.page, image.pages) == (4, 4)
    chosen = read_image(tmp_path / "history.npy", page=2)
    assert np.array_equal(chosen.frames, history[1])
    assert (chosen.page, chosen.pages) == (2, 4)
    with pytest.raises(ValueError, match="the array has no page 5; there are 4 pages"):
        read_image(tmp_path / "history.npy", page=5)


@pytest.mark.parametrize("channels", [3, 4])
@pytest.mark.parametrize("kind", [np.uint8, np.uint16])
def test_whole_numbers_in_three_or_four_channels_are_colours(channels: int, kind: type) -> None:
    pixels = grey(kind, (5, 6, channels))
    image = image_of_array(pixels)
    assert image.frames == pytest.approx(pixels[..., :3] @ LUMA)
    assert (image.alpha is None) == (channels == 3)
    assert (image.unit, image.full_scale) == ("level", np.iinfo(kind).max)
    swapped = image_of_array(pixels.astype(pixels.dtype.newbyteorder(">")))
    assert np.array_equal(swapped.frames, image.frames)
    assert (swapped.unit, swapped.full_scale) == (image.unit, image.full_scale)
    grey_alone = image_of_array(pixels[..., 0].astype(pixels.dtype.newbyteorder(">")))
    assert (grey_alone.unit, grey_alone.full_scale) == ("level", np.iinfo(kind).max)


@pytest.mark.parametrize("page", [True, 1.0, "1"])
def test_a_page_is_a_whole_number(page: Any) -> None:
    with pytest.raises(ValueError, match=f"page must be a whole number, got {page!r}"):
        image_of_array(np.zeros((2, 5, 4)), page=page)


def test_numbers_in_three_columns_are_no_colours() -> None:
    assert image_of_array(np.zeros((2, 5, 3))).frames.shape == (2, 5, 3)
    assert image_of_array(np.zeros((2, 5, 3), np.int64)).pages == 2


@pytest.mark.parametrize(
    "text",
    [
        "1,2.5,-3e2\n4,5,6\n",
        "1;2,5;-3e2\n4;5;6\n",
        "1\t2.5\t-300\n4\t5\t6\n",
        "1 2.5   -300\n 4 5 6",
        "# x, y, z\n\n1, 2.5, -300  # first\n4, 5, 6\n\n",
        "\ufeff1,2.5,-300\r\n4,5,6\r\n",
    ],
)
def test_a_table_of_numbers_is_read_whatever_separates_them(tmp_path: Path, text: str) -> None:
    for suffix in ("csv", "tsv", "txt"):
        path = tmp_path / f"table.{suffix}"
        path.write_text(text, "utf-8", newline="")
        assert read_image(path).frames.tolist() == [[1.0, 2.5, -300.0], [4.0, 5.0, 6.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no numbers"),
        ("# nothing\n\n", "holds no numbers"),
        ("1,2\n3,x\n", r"line 2: could not convert string to float: 'x'"),
        ("1,2\n\n3\n", "line 3: 1 numbers, where line 1 has 2"),
        ("a,b\n1,2\n", "line 1: could not convert"),
        ("\t2\t3\n\t5\t6\n", "line 1: could not convert string to float: ''"),
        ("1\t2\t3\n\t5\t6\n", "line 2: could not convert string to float: ''"),
    ],
)
def test_a_table_that_is_none_is_refused_with_the_line(tmp_path: Path, text: str, message: str) -> None:
    path = tmp_path / "table.csv"
    path.write_text(text)
    with pytest.raises(UnreadableError, match=message):
        read_image(path)


def test_a_table_in_another_encoding_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "table.csv"
    path.write_bytes(b"1,2\n\xff\xfe,3\n")
    with pytest.raises(UnreadableError, match="is no text: byte 4 is not UTF-8"):
        read_image(path)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (np.zeros(5), r"got shape \(5,\)"),
        (np.zeros((2, 2, 2, 2)), r"got shape \(2, 2, 2, 2\)"),
        (np.zeros((0, 5)), r"got shape \(0, 5\)"),
        (np.array([["a"]]), "an image holds real numbers, got type <U1"),
        (np.zeros((2, 2), complex), "an image holds real numbers, got type complex128"),
        (np.array([[None]]), "an image holds real numbers, got type object"),
        (np.zeros((2, 2), "m8[s]"), r"an image holds real numbers, got type timedelta64\[s\]"),
        (np.ma.masked_less(np.eye(2), 0.5), r"got a masked array; give its \.filled"),
    ],
)
def test_an_array_that_is_no_image_is_refused(values: npt.NDArray[Any], message: str) -> None:
    with pytest.raises(UnreadableError, match=message):
        image_of_array(values)


def test_objects_are_never_unpickled(tmp_path: Path) -> None:
    objects = np.array([[{}]], dtype=object)
    np.save(tmp_path / "objects.npy", objects, allow_pickle=True)
    np.savez(tmp_path / "objects.npz", objects)
    for name in ("objects.npy", "objects.npz"):
        with pytest.raises(
            UnreadableError, match=f"{name} is no .np[yz] file of numbers: .*(allow_pickle=False|Python objects)"
        ):
            read_image(tmp_path / name)


@pytest.mark.parametrize("suffix", _image_files.SUFFIXES)
def test_a_file_of_another_content_than_its_name_says_is_refused(pillow: Any, tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"wrong{suffix}"
    for content in (b"", b"\x00\x01\x02 nothing of the kind", b"PK\x03\x04 broken", b"\x93NUMPY\x01\x00"):
        path.write_bytes(content)
        with pytest.raises(UnreadableError, match=f"wrong{suffix}"):
            read_image(path)


@pytest.mark.parametrize("suffix", ["png", "tif", "jpg", "npy", "npz"])
def test_a_file_that_was_cut_off_is_refused_at_every_length(pillow: Any, tmp_path: Path, suffix: str) -> None:
    pixels, path = grey(shape=(40, 50)), tmp_path / f"cut.{suffix}"
    if suffix in ("npy", "npz"):
        (np.save if suffix == "npy" else np.savez)(path, pixels)
    else:
        saved(pillow, path, pixels)
    whole = path.read_bytes()
    for length in range(0, len(whole) - 30, max(1, len(whole) // 25)):
        path.write_bytes(whole[:length])
        with pytest.raises(UnreadableError, match=f"cut.{suffix}"):
            read_image(path)


def test_damaged_bytes_never_raise_anything_else(pillow: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(5)
    for suffix in ("png", "tif", "jpg", "npy", "npz"):
        path = tmp_path / f"damaged.{suffix}"
        if suffix == "npy":
            np.save(path, grey(shape=(20, 30)))
        elif suffix == "npz":
            np.savez_compressed(path, grey(shape=(20, 30)) // 16)
        else:
            saved(pillow, path, grey(shape=(20, 30)))
        whole = np.frombuffer(path.read_bytes(), dtype=np.uint8)
        for _ in range(150):
            damaged = whole.copy()
            damaged[rng.integers(0, len(whole), 4)] = rng.integers(0, 256, 4)
            path.write_bytes(damaged.tobytes())
            try:
                assert isinstance(read_image(path), Image)
            except UnreadableError:
                continue


@pytest.mark.parametrize("shape", ["(1000000000000000000000, 5)", "(True, True)", "(-1, 5)", "(5,", "5"])
def test_an_array_file_with_an_odd_shape_is_refused(tmp_path: Path, shape: str) -> None:
    header = f"{{'descr': '<f8', 'fortran_order': False, 'shape': {shape}, }}".encode()
    path = tmp_path / "odd.npy"
    path.write_bytes(b"\x93NUMPY\x01\x00" + struct.pack("<H", len(header)) + header + bytes(400))
    with pytest.raises(UnreadableError, match=r"odd.npy"):
        read_image(path)


def test_an_archive_in_which_a_byte_was_changed_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "changed.npz"
    np.savez_compressed(path, np.random.default_rng(1).integers(0, 9, (60, 60)))
    whole = path.read_bytes()
    for place in range(120, 1000, 40):
        path.write_bytes(whole[:place] + bytes([whole[place] ^ 0x5A]) + whole[place + 1 :])
        with pytest.raises(UnreadableError, match=r"changed.npz is no .npz file of numbers"):
            read_image(path)


def test_a_name_of_no_known_kind_is_refused_with_those_that_there_are(tmp_path: Path) -> None:
    (tmp_path / "notes.docx").write_bytes(b"x")
    with pytest.raises(ValueError, match=r"notes.docx does not end in a known suffix; use one of: \.png, .*\.txt"):
        read_image(tmp_path / "notes.docx")


def test_a_file_that_is_missing_is_an_os_error_that_names_it(pillow: Any, tmp_path: Path) -> None:
    for suffix in _image_files.SUFFIXES:
        with pytest.raises(FileNotFoundError) as caught:
            read_image(tmp_path / f"none{suffix}")
        assert caught.value.filename == str(tmp_path / f"none{suffix}")


def test_a_few_bytes_that_ask_for_all_memory_are_refused(pillow: Any, tmp_path: Path) -> None:
    def chunk(name: bytes, content: bytes) -> bytes:
        return struct.pack(">I", len(content)) + name + content + struct.pack(">I", zlib.crc32(name + content))

    for side in (20_000, 2_000_000):
        header = struct.pack(">IIBBBBB", side, side, 8, 0, 0, 0, 0)
        path = tmp_path / "bomb.png"
        path.write_bytes(b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(b"")))
        with pytest.raises(UnreadableError, match=r"bomb.png: .*(beyond the bound of 100000000 pixels|exceeds limit)"):
            read_image(path)
    with (tmp_path / "bomb.npy").open("wb") as file:
        np.lib.format.write_array_header_1_0(file, {"descr": "<f8", "fortran_order": False, "shape": (10**5, 10**5)})
        file.truncate(8 * 10**10 + 1000)  # sparse: it takes no space
    with pytest.raises(UnreadableError, match=r"bomb.npy: an image of 100000 × 100000 is beyond the bound"):
        read_image(tmp_path / "bomb.npy")


def test_without_pillow_the_error_says_how_to_install_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "photo.png").write_bytes(b"x")
    monkeypatch.setitem(sys.modules, "PIL", None)
    with pytest.raises(ImportError, match=r'pip install "mycelium-fractal-net\[images\]"'):
        read_image(tmp_path / "photo.png")
    np.save(tmp_path / "field.npy", np.eye(4))
    assert read_image(tmp_path / "field.npy").frames.shape == (4, 4)
