"""The store of the infants' vectors, as it is written and as the stages read it."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crywatch.core.atomic import read_json, write_json
from crywatch.core.digest import files_sha256
from crywatch.core.errors import TableError
from crywatch.infants.embedded_cries import INFO, EmbeddedCries, write_embedded
from tests.helpers.embedded_cases import DIM, embedding_info, recordings_table, vectors_of


def written(folder, **changes):
    frame = recordings_table({"b": 3, "a": 4}, splits={"a": "test", "b": "train"}, **changes)
    shifted = pd.DataFrame(
        [
            {"clip_id": frame["clip_id"][number], "shift": shift, "control": "noise" in shift}
            for number in (4, 6)
            for shift in ("pitch +10 %", "noise 20 dB")
        ]
    )
    others = pd.DataFrame(
        [{"clip_id": "esc50/x", "corpus": "esc50", "split": "train", "category": "dog"}]
    )
    write_embedded(
        folder,
        embedding_info(),
        frame,
        vectors_of(frame),
        others=others,
        other_vectors=np.ones((1, DIM)),
        shifted=shifted,
        shifted_vectors=np.arange(4.0)[:, None] * np.ones(DIM),
    )
    return frame


def test_what_is_written_is_read(tmp_path):
    frame = written(tmp_path / "store")
    store = EmbeddedCries(tmp_path / "store")
    pd.testing.assert_frame_equal(store.recordings, frame)
    np.testing.assert_array_equal(store.vectors, vectors_of(frame))
    assert store.digest == store.info.digest == embedding_info().digest
    assert store.others["category"].tolist() == ["dog"] and store.other_vectors.shape == (1, DIM)
    assert len(store.shifted) == len(store.shifted_vectors) == 4
    written(tmp_path / "again" / "store")
    folders = [tmp_path / "store", tmp_path / "again" / "store"]
    assert len({files_sha256([folder]) for folder in folders}) == 1


def test_infants_have_their_recordings_in_the_order_of_time(tmp_path):
    frame = written(tmp_path / "store", backwards=True)
    store = EmbeddedCries(tmp_path / "store")
    (infant,) = store.infants(["val", "test"])
    assert infant.infant_id == "a" and (np.diff(infant.times) > np.timedelta64(0)).all()
    assert infant.clip_ids == tuple(frame["clip_id"][[6, 5, 4, 3]])
    np.testing.assert_array_equal(infant.vectors, vectors_of(frame)[[6, 5, 4, 3]])
    assert infant.sessions.tolist() == frame["session_id"][[6, 5, 4, 3]].tolist()
    first, second = infant.shifted
    assert (first.name, first.control) == ("pitch +10 %", False)
    assert (second.name, second.control) == ("noise 20 dB", True)
    # Made of rows 4 and 6 of the table, which are the third and the first in time.
    assert second.rows.tolist() == [0, 2] and second.vectors[:, 0].tolist() == [3.0, 1.0]
    assert [one.infant_id for one in store.infants(["train", "test"])] == ["a", "b"]
    assert [one.infant_id for one in store.cohort()] == ["b"] and len(store.cohort()[0]) == 3


def test_changed_recordings_are_apart(tmp_path):
    frame = written(tmp_path / "store", categories={5: "planted pitch +20 %", 6: "planted x"})
    store = EmbeddedCries(tmp_path / "store")
    (infant,) = store.infants(["test"], ["odd", "planted"])
    assert infant.clip_ids == tuple(frame["clip_id"][[3, 4]]) and len(infant.times) == 2
    (changed,) = infant.changed
    assert changed.name == "planted" and changed.clip_ids == tuple(frame["clip_id"][[5, 6]])
    np.testing.assert_array_equal(changed.vectors, vectors_of(frame)[[5, 6]])
    assert [shifted.rows.tolist() for shifted in infant.shifted] == [[1], [1]]
    (same,) = store.infants(["test"])
    assert same.changed == () and len(same.vectors) == 4


def test_unknown_sessions_are_one_and_unknown_times_stay_unknown(tmp_path):
    frame = recordings_table({"a": 3})
    frame["session_id"], frame["recorded_at"] = None, pd.NaT
    write_embedded(tmp_path / "store", embedding_info(), frame, vectors_of(frame))
    (infant,) = EmbeddedCries(tmp_path / "store").infants(["train"])
    assert len(set(infant.sessions)) == 1 and np.isnat(infant.times).all()
    assert infant.shifted == ()


def test_a_store_that_is_missing_or_damaged_says_so(tmp_path):
    with pytest.raises(TableError, match="dvc repro embed_cries"):
        EmbeddedCries(tmp_path / "none")
    folder = tmp_path / "store"
    written(folder)
    np.save(folder / "vectors.npy", np.zeros((2, DIM), dtype=np.float32))
    with pytest.raises(TableError, match=r"vectors.npy: 2 rows for 7 of table recordings"):
        EmbeddedCries(folder).infants(["train"])
    np.save(folder / "vectors.npy", np.zeros((7, DIM + 1), dtype=np.float32))
    with pytest.raises(TableError, match=rf"expected float32 \[rows, {DIM}\]"):
        _ = EmbeddedCries(folder).vectors
    np.save(folder / "vectors.npy", np.full((7, DIM), np.nan, dtype=np.float32))
    with pytest.raises(TableError, match=r"vectors.npy: holds what is no number: .*dvc repro"):
        EmbeddedCries(folder).cohort()
    (folder / "others.npy").write_bytes(b"\x93NUMPY")
    with pytest.raises(TableError, match=r"others.npy: cannot be read"):
        _ = EmbeddedCries(folder).other_vectors
    write_json(folder / INFO, read_json(folder / INFO) | {"more": 1})
    with pytest.raises(TableError, match=r"store.json: damaged"):
        EmbeddedCries(folder)


def test_a_table_and_an_array_that_differ_are_not_written(tmp_path):
    frame = recordings_table({"a": 3})
    with pytest.raises(TableError, match="2 rows for 3 of table recordings"):
        write_embedded(tmp_path / "store", embedding_info(), frame, vectors_of(frame)[:2])
    assert list(tmp_path.iterdir()) == []
