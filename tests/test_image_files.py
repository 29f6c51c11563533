"""Image files of all kinds: as they are meant to look, or refused by name."""

import struct
import zlib

import numpy as np
import pytest
from PIL import Image

from deepaug.training.modalities import folders
from deepaug.training.modalities.vision import files
from deepaug.validation import DataError

SIDE = 8
RAMP = np.linspace(0, 1, SIDE * SIDE).reshape(SIDE, SIDE)
CLEAR = (255, 0, 0, 0)  # red that is not to be seen
SPREAD = np.uint16((RAMP * 65535).round())


@pytest.fixture(autouse=True)
def root(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPAUG_DATA", str(tmp_path / "data"))


def read(*paths, side=SIDE, most=64):
    return files.read(folders.Part(paths[0].parent, list(paths), [0] * len(paths)), side, most)


def refusal(*paths) -> str:
    with pytest.raises(DataError) as caught:
        read(*paths)
    assert "\n" not in str(caught.value) and str(paths[0]) in str(caught.value)
    return str(caught.value)


def flat(mode, colour, **info):
    image = Image.new(mode, (SIDE, SIDE), colour)
    image.info.update(info)
    return image


def palette(index, **info):
    image = flat("P", index, **info)
    image.putpalette([0, 0, 0, 250, 128, 6])
    return image


def png(depth, kind, pixel, extra=()):
    """A PNG of one colour, as bytes: Pillow writes not all kinds that it reads."""
    header = struct.pack(">IIBBBBB", SIDE, SIDE, depth, kind, 0, 0, 0)
    rows = zlib.compress((b"\0" + pixel * SIDE) * SIDE)
    chunks = [(b"IHDR", header), *extra, (b"IDAT", rows), (b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(
        struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        for kind, data in chunks
    )


def tiff(bits, kind, white, pixels):
    """A grey TIFF: kind 1 counts from 0, 2 has a sign, 3 a point; white is 1, or 0."""
    tags = {256: SIDE, 257: SIDE, 258: bits, 259: 1, 262: white, 273: 134, 277: 1, 278: SIDE}
    tags |= {279: len(pixels), 339: kind}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4) + pixels


def saved(folder, suffix, content, **options):
    path = folder / f"image.{suffix}"
    if isinstance(content, bytes):
        path.write_bytes(content)
    else:
        content.save(path, **options)
    return path


GREY = np.uint8((RAMP * 255).round())


@pytest.mark.parametrize(
    ("suffix", "image", "grey"),
    [
        ("png", Image.fromarray(SPREAD), GREY),
        ("tif", Image.fromarray(SPREAD), GREY),
        ("tiff", Image.frombytes("I;16B", (SIDE, SIDE), SPREAD.astype(">u2").tobytes()), GREY),
        ("pgm", Image.fromarray(SPREAD), GREY),
        ("jp2", Image.fromarray(SPREAD), GREY),
        ("png", Image.fromarray(SPREAD // 4), GREY / 4),  # not stretched to its own white
        ("tif", Image.fromarray(np.float32(RAMP)), GREY),
        ("pfm", Image.fromarray(np.float32(RAMP)), GREY),
    ],
)
def test_greys_of_more_than_eight_bits_keep_their_range(tmp_path, suffix, image, grey):
    (found,) = read(saved(tmp_path, suffix, image))
    assert np.abs(found.astype(float) - grey).max() <= 1


@pytest.mark.parametrize(
    ("suffix", "image", "colour", "options"),
    [
        ("png", flat("1", 1), (255, 255, 255), {}),
        ("png", flat("L", 77), (77, 77, 77), {}),
        ("png", flat("LA", (0, 0)), (255, 255, 255), {}),
        ("png", flat("LA", (60, 255)), (60, 60, 60), {}),
        ("tga", flat("LA", (0, 51)), (204, 204, 204), {}),
        ("png", palette(1), (250, 128, 6), {}),
        ("gif", palette(1), (250, 128, 6), {}),
        ("png", palette(1), (255, 255, 255), {"transparency": 1}),
        ("gif", palette(1), (255, 255, 255), {"transparency": 1}),
        ("png", palette(1), (252, 191, 130), {"transparency": b"\xff\x80"}),
        ("tif", flat("PA", (0, 0)), (255, 255, 255), {}),
        ("png", flat("RGB", (9, 99, 199)), (9, 99, 199), {}),
        ("png", flat("RGB", (9, 99, 199)), (255, 255, 255), {"transparency": (9, 99, 199)}),
        ("png", flat("L", 77), (255, 255, 255), {"transparency": 77}),
        ("png", flat("RGBA", CLEAR), (255, 255, 255), {}),
        ("png", flat("RGBA", (255, 0, 0, 51)), (255, 204, 204), {}),
        ("webp", flat("RGBA", CLEAR), (255, 255, 255), {"lossless": True, "exact": True}),
        ("jpg", flat("CMYK", (0, 255, 255, 0)), (254, 0, 0), {}),
        ("tif", flat("CMYK", (0, 255, 255, 0)), (255, 0, 0), {}),
        ("tif", flat("YCbCr", (76, 85, 255)), (254, 0, 0), {}),
        ("tif", flat("LAB", (138, 209, 198)), (251, 5, 4), {}),
        ("bmp", flat("RGB", (9, 99, 199)), (9, 99, 199), {}),
        ("jfif", flat("RGB", (9, 99, 199)), (9, 99, 199), {"format": "JPEG"}),
        ("jpg", flat("RGB", (9, 99, 199)), (9, 99, 199), {"format": "PNG"}),  # a wrong suffix
        ("png", png(16, 2, struct.pack(">HHH", 65535, 25700, 0)), (255, 100, 0), {}),
        ("png", png(16, 4, struct.pack(">HH", 0, 0)), (255, 255, 255), {}),
        ("tif", tiff(8, 1, 0, bytes(SIDE**2)), (255, 255, 255), {}),
        ("tif", tiff(16, 1, 1, b"\x00\x80" * SIDE**2), (128, 128, 128), {}),
    ],
    ids=lambda value: "bytes" if isinstance(value, bytes) else None,
)
def test_a_mode_is_shown_as_it_is_meant_and_on_white(tmp_path, suffix, image, colour, options):
    (found,) = read(saved(tmp_path, suffix, image, **options))
    assert np.abs(found.astype(int) - np.array(colour)[:, None, None]).max() <= 1


def frames(count):
    return [flat("RGB", (200 * n % 256, 50 * n, 9)) for n in range(count)]


UNKNOWN = "a grey TIFF whose white is not known"


@pytest.mark.parametrize(
    ("suffix", "content", "told"),
    [
        *((s, frames(3), "3 frames; needed: one") for s in ("gif", "webp", "apng", "png", "tif")),
        ("tif", tiff(16, 1, 0, bytes(2 * SIDE**2)), UNKNOWN),
        ("tif", tiff(12, 1, 1, bytes(96)), UNKNOWN),
        ("tif", tiff(16, 2, 1, bytes(2 * SIDE**2)), UNKNOWN),
        ("tif", tiff(32, 1, 1, bytes(4 * SIDE**2)), UNKNOWN),
        ("tif", tiff(32, 3, 1, b"\0\0\xc0\x7f" * SIDE**2), "numbers from nan"),
        ("tif", Image.fromarray(np.float32(RAMP * 255)), "numbers from 0 to 255; needed: 0,"),
        ("tif", Image.fromarray(np.float32(RAMP - 1)), "numbers from -1 to 0"),
        ("tif", tiff(64, 3, 1, bytes(8 * SIDE**2)), "cannot identify"),
        ("png", png(16, 0, b"\x10\x00", [(b"tRNS", b"\x10\x00")]), "colour of 16 bits"),
        ("png", png(16, 2, b"\x10\x00" * 3, [(b"tRNS", b"\x10\x00" * 3)]), "colour of 16 bits"),
        ("png", b"", "cannot identify"),
        ("gif", b"GIF89a" + bytes(9), ""),
        ("jpg", b"%!PS-Adobe-3.0 EPSF-3.0", "cannot identify"),  # nothing is started for it
    ],
    ids=lambda value: "bytes" if isinstance(value, bytes) else None,
)
def test_what_has_no_right_value_is_refused(tmp_path, suffix, content, told):
    options = {}
    if isinstance(content, list):
        content, *rest = content
        options = {"save_all": True, "append_images": rest}
    message = refusal(saved(tmp_path, suffix, content, **options))
    assert told in message and "mend or remove it" in message


def test_all_that_cannot_be_read_are_named_at_once(tmp_path):
    paths = [saved(tmp_path, "png", frames(1)[0]), *(tmp_path / f"{n}.gif" for n in range(4))]
    for path in paths[1:]:
        path.write_bytes(b"GIF")
    with pytest.raises(DataError, match=r"0\.gif .*; likewise 3 more: 1\.gif, 2\.gif, 3\.gif"):
        read(*paths)


@pytest.mark.parametrize("suffix", ["jpg", "png", "webp", "tif"])
@pytest.mark.parametrize("orientation", range(9))
def test_photographs_stand_upright_however_the_camera_was_held(tmp_path, suffix, orientation):
    """By the table of the EXIF standard: 6 is to be turned by a quarter to the right, say."""
    upright = np.zeros((SIDE, SIDE, 3), np.uint8)
    upright[:4, :4], upright[:4, 4:] = (250, 0, 0), (0, 250, 0)
    held = {
        2: lambda x: x[:, ::-1],
        3: lambda x: x[::-1, ::-1],
        4: lambda x: x[::-1],
        5: lambda x: x.transpose(1, 0, 2),
        6: lambda x: np.rot90(x),
        7: lambda x: x.transpose(1, 0, 2)[::-1, ::-1],
        8: lambda x: np.rot90(x, -1),
    }.get(orientation, lambda x: x)(upright)
    exif = Image.Exif()
    exif[0x0112] = orientation
    options = {"lossless": True} if suffix == "webp" else {"quality": 100, "subsampling": 0}
    options = {} if suffix in ("png", "tif") else options
    image = Image.fromarray(np.ascontiguousarray(held))
    (found,) = read(saved(tmp_path, suffix, image, exif=exif, **options))
    assert np.abs(found.transpose(1, 2, 0).astype(int) - upright).max() < 60


def test_damaged_exif_data_turn_nothing(tmp_path):
    image = flat("RGB", (9, 99, 199))
    assert read(saved(tmp_path, "jpg", image, exif=b"Exif\0\0MM\0*\0\0\0\x08\0\x09\xff")).any()


def test_of_a_phones_pictures_in_one_file_the_first_is_the_photograph(tmp_path):
    first, *rest = frames(2)
    path = saved(tmp_path, "jpg", first, format="MPO", save_all=True, append_images=rest)
    assert np.abs(read(path)[0].astype(int) - [[[0]], [[0]], [[9]]]).max() <= 2


@pytest.mark.parametrize(("most", "side"), [(64, 40), (16, 16)])
def test_one_image_does_not_set_the_size_of_all(tmp_path, most, side):
    paths = [tmp_path / f"{n}.png" for n in range(5)]
    for path, size in zip(paths, [(4, 4), (40, 60), (50, 40), (40, 40), (900, 950)], strict=True):
        Image.new("RGB", size).save(path)
    assert read(*paths, side=None, most=most).shape == (5, 3, side, side)
