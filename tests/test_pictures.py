#!/usr/bin/env python3
"""Decoding of files, and resizing to the side of the backbone."""
import errno
import random
import re
import sys
import threading
import time
import zlib

import numpy as np
import pytest
from pictures import (bad, bmp, chunk, exif, formats, noise, png_header, saved,
                      segment, with_metadata)
from PIL import Image, features

from stages.lib.common import errors, parallel
from stages.lib.common.keras_runtime import keras
from stages.lib.images import (
    decoding, jpeg, large_pictures, rescaling, resizing)
from stages.lib.params import params

CORNERS = np.repeat(np.repeat(np.uint8([
    [[215, 40, 40], [40, 215, 40]], [[40, 40, 215], [215, 215, 215]]]),
    16, axis=0), 24, axis=1)    # 32 x 48 pixels
TURNED = {1: CORNERS, 2: CORNERS[:, ::-1], 3: CORNERS[::-1, ::-1],
          4: CORNERS[::-1], 5: CORNERS.swapaxes(0, 1),
          6: np.rot90(CORNERS, -1), 7: np.rot90(CORNERS, 2).swapaxes(0, 1),
          8: np.rot90(CORNERS)}    # by the value of Exif


@pytest.mark.parametrize("name", formats())
def test_format(name):
    """Each kind of file gives the pixels saved in it, as RGB."""
    data, expected, off = formats()[name]
    found = decoding.decode(data)
    assert found.dtype == np.uint8 and found.shape == expected.shape
    assert np.abs(found.astype(int) - expected).max() <= off


@pytest.mark.parametrize("name", bad())
def test_bad_file(name):
    """A file that is no picture is refused with the reason."""
    data, reason = bad()[name]
    with pytest.raises(errors.PictureError) as error:
        decoding.decode(data, 200)
    assert str(error.value) == reason


PNG, JPEG = saved(CORNERS, "PNG"), saved(CORNERS, "JPEG", quality=95)
TEXT = zlib.compress(b"x" * 2_000_000)
XMP = b'<x:xmpmeta tiff:Orientation="6"/>'
RAW = b"\nexif\n  12\n" + exif(6).hex().encode()
METADATA = {    # what is put into a picture, and the orientation it has then
    "other tags": (exif(6, more=[(0x9204, 10, 1, 42), (0x10e, 2, 99, 2**31),
                                 (0x11a, 77, 9, 9)]), 6),
    "long": (exif(8, kind=4), 8), "signed": (exif(3, kind=8), 3),
    "text": (exif(6, kind=2), 1), "rational": (exif(6, kind=5), 1),
    "unknown": (exif(9), 1), "raw converter": (exif(6, head=b"IIRO"), 6),
    "big-endian": (exif(5, head=b"MM\0*"), 5), "cut": (exif(6)[:12], 1),
    "blank": (b"", 1), "noise": (b"II" + bytes(range(60)), 1)}


@pytest.mark.parametrize("name", METADATA)
def test_orientation(name):
    """It is read alone; where it cannot be read, the picture is upright."""
    data, orientation = METADATA[name]
    assert np.array_equal(decoding.decode(
        PNG[:33] + chunk(b"eXIf", data) + PNG[33:]), TURNED[orientation])
    found = decoding.decode(
        JPEG[:2] + segment(0xffe1, b"Exif\0\0" + data) + JPEG[2:])
    assert near(found, TURNED[orientation])
    webp = saved(CORNERS, "WEBP", lossless=True, exif=data)
    assert np.array_equal(decoding.decode(webp), TURNED[orientation])


@pytest.mark.parametrize("name, data, orientation", [
    (b"zTXt", b"note\0\0" + TEXT, 1), (b"iCCP", b"icc\0\0" + TEXT, 1),
    (b"iTXt", b"XML:com.adobe.xmp\0\1\0\0\0" + TEXT, 1),
    (b"iTXt", b"XML:com.adobe.xmp\0\0\0\0\0" + XMP, 6),
    (b"tEXt", b"Raw profile type exif\0\nexif\n  12\nzz\n", 1),
    (b"tEXt", b"Raw profile type exif\0" + RAW, 6),
    (b"zTXt", b"Raw profile type exif\0\0" + zlib.compress(RAW), 6),
    (b"sRGB", b"", 1)], ids=map(str, range(8)))
def test_png_metadata(name, data, orientation):
    """Text and profiles of any length are skipped, before and after pixels."""
    for at in (33, -12):
        for wrong in (0, 1):
            file = PNG[:at] + chunk(name, data, wrong) + PNG[at:]
            assert np.array_equal(decoding.decode(file), TURNED[orientation])


def test_damaged_metadata(capfd):
    """No metadata change a pixel, and nothing is printed about them."""
    good = {name: (data, decoding.decode(data))
            for name, (data, *_) in formats().items()
            if not name.endswith(".bmp") and name != "turned.jpg"}
    choose = random.Random(0)
    for _ in range(1000):
        name = choose.choice(list(good))
        data = with_metadata(good[name][0], choose)
        assert np.array_equal(decoding.decode(data), good[name][1]), name
        jpeg.matches(good[name][1], data)
    assert capfd.readouterr() == ("", "")


def near(found, expected, off=12):
    """Return whether the middles of the corners agree, up to compression."""
    rows, columns = ([side // 4, -(side // 4)] for side in expected.shape[:2])
    return found.shape == expected.shape and np.abs(
        found.astype(int) - expected)[rows][:, columns].max() <= off


@pytest.mark.parametrize("orientation", TURNED)
@pytest.mark.parametrize("mode", ["RGB", "RGBA", "L", "P"])
def test_strips(mode, orientation, monkeypatch):
    """A large picture is decoded in strips, to the same pixels."""
    image = Image.fromarray(noise(23, 37)).convert(mode)
    data = saved(image, "PNG", exif=exif(orientation))
    whole = decoding.decode(data)
    monkeypatch.setattr(decoding, "STRIP", 100)
    assert np.array_equal(decoding.decode(data), whole)


@pytest.mark.parametrize("header", [40, 52, 56, 64, 108, 124])
@pytest.mark.parametrize("masks", [
    None, (0xff0000, 0xff00, 0xff, 0xff000000),
    (0xff, 0xff00, 0xff0000, 0xff000000),
    (0xff000000, 0xff0000, 0xff00, 0xff)])
def test_bmp_alpha(header, masks):
    """A BMP whose alpha is 0 everywhere is opaque; a PNG is transparent."""
    if masks and header < 56:    # no mask of alpha in such headers
        masks = (0xff0000, 0xff00, 0xff, 0)
    data = bmp(CORNERS, np.zeros((32, 48), np.uint8), masks, header)
    assert np.array_equal(decoding.decode(data), CORNERS)
    clear = np.dstack([CORNERS, np.zeros((32, 48), np.uint8)])
    for kind in ("PNG", "WEBP"):
        assert (decoding.decode(saved(clear, kind)) == 255).all()
    if masks and masks[3] and header > 64:
        alpha = np.full((32, 48), 255, np.uint8)
        alpha[:16] = 0
        found = decoding.decode(bmp(CORNERS, alpha, masks, header))
        assert (found[:16] == 255).all()
        assert np.array_equal(found[16:], CORNERS[16:])


HEIC = b"\0\0\0\x18ftypheic\0\0\0\0mif1heic" + bytes(100)
AVIF = b"\0\0\0\x18ftypmif1\0\0\0\0mif1avif" + bytes(100)


@pytest.mark.parametrize("data, missing, damaged", [
    (HEIC, "HEIC: install the extra heif: python -m pip install "
     "'pillow-heif>=1.1'", "damaged HEIC: no picture in it can be opened"),
    (AVIF, "AVIF: install the extra heif: python -m pip install "
     "'Pillow>=11.3'",
     "damaged AVIF: no picture in it can be opened"),
    (HEIC[:8] + b"isom" + HEIC[12:16] + b"mp42isom", None,
     "not an image (JPEG, PNG, WEBP, BMP, GIF)")],
    ids=["HEIC", "AVIF", "MP4"])
def test_heif_reasons(data, missing, damaged, monkeypatch):
    """What is not installed is told from what is damaged."""
    with pytest.raises(errors.PictureError) as error:
        decoding.decode(data)
    assert str(error.value) == damaged
    monkeypatch.setitem(sys.modules, "pillow_heif", None)
    monkeypatch.setattr(features, "check", lambda name: False)
    with pytest.raises(errors.PictureError) as error:
        decoding.decode(data)
    assert str(error.value) == (missing or damaged)


@pytest.mark.parametrize("kind", ["HEIF", "AVIF"])
def test_heif(kind):
    """HEIC and AVIF are turned once, by their boxes; cut, they are refused."""
    import pillow_heif
    pillow_heif.register_heif_opener()
    for orientation, expected in TURNED.items():
        data = saved(CORNERS, kind, quality=95, exif=exif(orientation))
        assert near(decoding.decode(data), expected)
    upright = saved(CORNERS, kind, quality=95, exif=exif(1))
    if kind == "HEIF":    # without a box, Exif turns nothing
        assert exif(1) in upright
    assert near(decoding.decode(upright.replace(exif(1), exif(6))), CORNERS)
    alpha = np.dstack([CORNERS, CORNERS[:, :, 0]])
    alpha[:, :, 3] = np.where(np.arange(48) < 24, 0, 255)
    white = decoding.decode(saved(alpha, kind, quality=95))
    assert (white[:, :20] > 250).all() and near(white[:, 24:], CORNERS[:, 24:])
    text = Image.Exif()
    text[0x10e] = "a description"
    for extra in ({"exif": text.tobytes()}, {"xmp": b"<"},
                  {"icc_profile": b"x" * 9}):
        damaged = re.sub(rb"II\*\0|MM\0\*", b"zzzz", saved(
            CORNERS, kind, quality=95, **extra))
        assert near(decoding.decode(damaged), CORNERS)
    with pytest.raises(errors.PictureError, match="^truncated$"):
        decoding.decode(data[:len(data) * 2 // 3])


def test_size():
    """Large pictures and panoramas are read, up to data.max_megapixels."""
    panorama = saved(np.zeros((500, 20000, 3), np.uint8), "JPEG")
    assert decoding.decode(panorama, 10).shape == (500, 20000, 3)
    with pytest.raises(errors.PictureError, match=(
            "^too large: 20000 x 500 pixels, 9.99 megapixels are allowed "
            r"\(data.max_megapixels\)$")):
        decoding.decode(panorama, 9.99)
    with pytest.raises(errors.PictureError, match="^truncated$"):
        decoding.decode(png_header(20000, 9), 200)    # was too long


def test_files_that_are_not_read(tmp_path, monkeypatch):
    """A film is not read into memory; a failing disk is not a bad picture."""
    path = tmp_path / "film.mp4"
    with open(path, "wb") as file:
        file.truncate(1 << 31)    # without a byte on disk
    with pytest.raises(errors.PictureError, match="^larger than any picture "
                       r"of 200 megapixels \(data.max_megapixels\)$"):
        decoding.read(str(path), 200)

    def fail(*_):
        """Fail as a disk does."""
        raise OSError(errno.EIO, "Input/output error")

    monkeypatch.setattr("builtins.open", fail)
    with pytest.raises(errors.StorageError, match=r"film.mp4: cannot be read "
                       r"\(Input/output error\)"):
        decoding.read(str(path))


def test_of_one_size():
    """Images share a batch if they have one size, large ones with few."""
    images = [np.broadcast_to(np.uint8(0), (*size, 3)) for size in [
        *3 * [(9, 9)], (9, 8), *3 * [(2000, 3000)], (5000, 9000), (9, 9)]]
    assert [len(batch) for batch in large_pictures.of_one_size(
        images, lambda image: image, 4)] == [3, 1, 2, 1, 1, 1]


def test_memory_budget():
    """Threads share the memory; what exceeds all of it runs alone."""
    budget, lock, running, most = (
        parallel.MemoryBudget(10), threading.Lock(), [], [])

    def work(need):
        """Hold `need` bytes for a moment."""
        with budget.take(need):
            with lock:
                running.append(need)
                most.append((sum(running), len(running)))
            time.sleep(0.002)
            with lock:
                running.remove(need)

    list(parallel.ordered(work, [1, 9, 5, 5, 6, 99, 3, 3, 3, 3] * 5, 4))
    assert all(total <= 10 or count == 1 for total, count in most)
    assert max(count for _, count in most) > 1


class Files:
    """Files as `prepared.Images`.

    Attributes:
        files: list of bytes.
        of_files: True.
    """

    of_files = True

    def __init__(self, files):
        """Keep the `files`."""
        self.files, self._pixels = files, [
            decoding.decode(data) for data in files]

    def __len__(self):
        """Return their number."""
        return len(self.files)

    def __getitem__(self, row):
        """Return the pixels of a row."""
        return self._pixels[row]

    def size(self, row):
        """Return height and width of a row."""
        return list(self._pixels[row].shape[:2])

    def jpeg(self, row):
        """Return whether TensorFlow reads the file."""
        return self.files[row].startswith(b"\xff\xd8")

    def read(self, row):
        """Return the file."""
        return self.files[row]


def lengths(images):
    """Return the number of images in each batch."""
    return [len(rows) for rows in large_pictures.batches(images)]


def test_resize_on_any_memory(monkeypatch, capsys):
    """The plan states memory; its bytes depend on no thread; or it refuses."""
    images = Files([saved(noise(40 + k, 60), kind) for k in range(100)
                    for kind in ("JPEG", "PNG")])
    given = params.Resize(side=32, mode="pad", antialias=False)
    need = large_pictures.memory(images, len(images) - 1, given)
    assert need == 18 * 139 * 60
    budget, found = large_pictures.plan([images], given, need), []
    for workers in (1, 2, 3):
        monkeypatch.setattr(parallel, "CORES", workers)
        found.append(np.concatenate(list(resizing.resize(
            images, given, budget))))
        assert np.array_equal(found[0], found[-1])
    assert capsys.readouterr().out == (
        "resize: the largest picture is 60 x 139: needs up to 150 kB of "
        f"memory on 1 of {parallel.os.cpu_count()} cores, 150 kB are free\n")
    assert lengths(images) == [64, 64, 64, 8]
    monkeypatch.setattr(large_pictures, "BATCH_PIXELS", 60 * 130)
    assert lengths(images)[-2:] == [1, 1]
    assert np.array_equal(found[0], np.concatenate(list(resizing.resize(
        images, given, budget))))
    with pytest.raises(errors.PlanError, match=(
            "^the largest picture is 60 x 139: needs up to 150 kB of memory "
            "on 1 of 3 cores, 150 kB are free; set resize.mode to crop, or "
            "lower data.max_megapixels$")):
        large_pictures.plan([images], given, need - 1)


@pytest.mark.parametrize("antialias", [False, True])
@pytest.mark.parametrize("mode", ["stretch", "crop", "pad"])
def test_model_sees_what_resize_stores(mode, antialias):
    """The Lambda for any size gives exactly the pixels of `resize`."""
    arguments = {"side": 32, "mode": mode, "antialias": antialias}
    given = keras.Input((None, None, 3))
    tensor = rescaling.rescale_layer(**arguments)(given)
    model = keras.Model(given, tensor)
    assert model.output_shape == (None, 32, 32, 3)
    for height, width in [(32, 32), (50, 33), (20, 91), (7, 64), (1, 1)]:
        image = noise(height, width)[None]
        stored = rescaling.rescale(image, **arguments).numpy()
        assert stored.shape == (1, 32, 32, 3)
        assert np.array_equal(stored, np.rint(stored))
        assert np.array_equal(stored, model.predict_on_batch(
            image.astype("float32")))
        if height == width:
            assert np.array_equal(stored, rescaling.rescale(
                image, 32, antialias=antialias))


def test_modes():
    """Crop takes the centre, pad adds black, stretch neither."""
    image = np.zeros((1, 8, 4, 3), np.uint8)
    image[0, 2:6], image[0, [0, -1]] = 100, 200
    stretched, cropped, padded = [
        rescaling.rescale(image, 8, mode).numpy()[0, :, :, 0]
        for mode in ("stretch", "crop", "pad")]
    assert np.array_equal(stretched[:, 0], image[0, :, 0, 0])
    assert (cropped == 100).all()
    assert np.array_equal(padded[:, 2:6], image[0, :, :, 0])
    assert not padded[:, :2].any() and not padded[:, 6:].any()
