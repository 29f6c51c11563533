"""Decoded images, kept on disk."""

import os

import numpy as np
import pytest

from deepaug.training.modalities.vision import decoded


@pytest.fixture
def files(tmp_path, monkeypatch):
    monkeypatch.setenv("DEEPAUG_DATA", str(tmp_path / "data"))
    paths = [tmp_path / f"{n}.png" for n in range(3)]
    for path in paths:
        path.write_bytes(path.name.encode())
    return paths


class Decoder:
    """Counts how often it is asked."""

    def __init__(self, value=0):
        self.calls, self.value = 0, value

    def __call__(self):
        self.calls += 1
        return np.full((3, 3, 2, 2), self.value, np.uint8)


def kept(folder):
    return sorted((folder / "data" / "decoded").iterdir())


def test_decoded_once(files, tmp_path):
    first, second = Decoder(7), Decoder(9)
    one, other = (decoded.keep(files, "side 2", d) for d in (first, second))
    assert (first.calls, second.calls) == (1, 0) and (np.asarray(other) == one).all()
    assert len(kept(tmp_path)) == 1


@pytest.mark.parametrize("change", ["settings", "content", "time", "fewer"])
def test_what_changed_is_decoded_anew(files, change):
    decoded.keep(files, "side 2", Decoder(1))
    settings, again = "side 2", Decoder(2)
    if change == "settings":
        settings = "side 3"
    elif change == "content":
        files[1].write_bytes(b"longer than it was")
    elif change == "time":
        os.utime(files[1], ns=(1, 1))
    else:
        files = files[:2]
    assert (decoded.keep(files, settings, again) == 2).all() and again.calls == 1


def test_changes_to_the_array_stay_in_the_process(files):
    decoded.keep(files, "", Decoder(1))
    decoded.keep(files, "", Decoder(1))[:] = 5
    assert (decoded.keep(files, "", Decoder(2)) == 1).all()


@pytest.mark.parametrize("damage", [b"", b"not an array", None])
def test_a_damaged_copy_is_made_anew(files, tmp_path, damage):
    decoded.keep(files, "", Decoder(1))
    (path,) = kept(tmp_path)
    path.write_bytes(path.read_bytes()[:-5] if damage is None else damage)
    assert (decoded.keep(files, "", Decoder(2)) == 2).all()
    assert (decoded.keep(files, "", Decoder(3)) == 2).all()


def test_a_pickle_in_its_place_is_not_loaded(files, tmp_path):
    decoded.keep(files, "", Decoder(1))
    (path,) = kept(tmp_path)
    np.save(path, np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert (decoded.keep(files, "", Decoder(2)) == 2).all()


def test_where_nothing_can_be_written_decoding_goes_on(files, tmp_path):
    (tmp_path / "data").write_text("no folder")
    decoder = Decoder(4)
    for _ in range(2):
        assert (decoded.keep(files, "", decoder) == 4).all()
    assert decoder.calls == 2


def test_a_decoder_that_fails_leaves_nothing(files, tmp_path):
    def fails():
        raise ValueError("broken image")

    with pytest.raises(ValueError, match="broken image"):
        decoded.keep(files, "", fails)
    assert not (tmp_path / "data").exists()
