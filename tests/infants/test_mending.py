"""Mending records: recordings of another infant are told and taken out, two ids become one."""

from __future__ import annotations

import os
from dataclasses import replace

import numpy as np
import pytest

from crywatch.core.digest import file_sha256
from crywatch.core.errors import StoreError
from crywatch.infants.enrolment.mending import MARK, PERHAPS, merge, remove_recording
from crywatch.infants.store import InfantStore, WrittenPage, forgetting, rename
from crywatch.infants.store.store import Writer, key_of
from tests.infants import test_enrolment as enrolment_cases
from tests.infants.test_enrolment import gate_folder, kept
from tests.infants.test_store import die, ended, everything, files_of, in_process, then_die

# Fixtures: infants of a voice each, and files of it.
config, make, record = enrolment_cases.config, enrolment_cases.make, enrolment_cases.record


def left(store, *marks):
    data = everything(store.folder)
    return [mark for mark in marks if mark in data]


def marks_of(record):
    return record.digest.encode(), record.vector.tobytes()


def test_a_sound_that_another_infant_has_is_told(make, record):
    infants = make()
    infants.enroll("Mia", record(1, range(12)))
    infants.enroll("Tom", [*record(2, range(3)), *record(1, [4])])
    told = [text for text in infants.said if "infant 'Mia' has this recording too" in text]
    assert len(told) == 1 and "1-4.wav" in told[0] and "`crywatch infant remove`" in told[0]
    infants.score("Mia", record(2, [1, 50], day=50))
    assert "2-1.wav: infant 'Tom' has this recording too" in infants.said[-1]


def test_a_recording_beyond_the_promised_rate_is_told_when_it_joins(make, record, config):
    infants = make()
    infants.enroll("Mia", [*record(1, range(12)), *record(7, [12])])
    assert not infants.said  # there is no baseline to join yet
    infants = make(store="other")
    scored = make(store="scored", updating=replace(config.updating, refit_after=0))
    for each in (infants, scored):
        each.enroll("Mia", record(1, range(12)))
    new = [*record(1, range(20, 26)), *record(7, [26])]
    infants.enroll("Mia", new)
    beyond = [one.path for one in scored.score("Mia", new).files if one.alarm]
    assert 0 < len(beyond) < 7 and beyond[-1].endswith("7-26.wav")
    told = infants.said[0]
    assert f"{len(beyond)} of the 7 recordings that join 'Mia' are beyond the promised" in told
    assert "rate of 0.1 (0.7 would be" in told and "7-26.wav (p 0.077)" in told
    assert [str(file.path) for file in new if str(file.path) in told] == beyond
    # A model of other settings is fitted again before it judges; without a promise none does.
    stricter = make(store="other", conformal=replace(config.conformal, rate=0.2))
    stricter.enroll("Mia", record(8, [30]))
    assert "beyond the promised rate of 0.2" in infants.said[-1]
    count = len(infants.said)
    infants.enroll("few", record(1, range(3)))
    infants.enroll("few", record(7, [40]))
    assert not [text for text in infants.said[count:] if "beyond the promised" in text]


def test_a_recording_is_taken_out_and_nothing_of_it_is_left(make, record, tmp_path):
    infants, right = make(), make(store="right")
    infants.enroll("Mia", record(1, range(10)))
    infants.enroll("Mia", record(7, [10]))  # version 1 is the first that was made with it
    infants.enroll("Mia", record(1, [11]))
    right.enroll("Mia", record(1, [*range(10), 11]))
    page = tmp_path / "page.html"
    page.write_text("a picture of it")
    with infants.store.writing() as writer:
        writer.add_page("Mia", WrittenPage(str(page), file_sha256(page)))
    stranger = next(one for one in kept(infants).records if one.path.endswith("7-10.wav"))
    assert len(left(infants.store, *marks_of(stranger))) == 2

    gone = remove_recording(infants, "Mia", "sounds/7-10.wav")
    assert (gone.recording.digest, gone.marked) == (stranger.digest, (1, 2))
    assert (gone.recordings, gone.version, gone.pages) == (11, 3, (str(page),))
    assert gone.promise.promised and gone.searched_for == 2 and not page.exists()
    assert not left(infants.store, *marks_of(stranger))
    own, other = kept(infants), kept(right)
    assert [version.remark for version in own.versions] == [None, MARK, MARK, None]
    assert [version.files is None for version in own.versions] == [False, True, True, False]
    assert own.state.baseline.vectors.tobytes() == other.state.baseline.vectors.tobytes()
    np.testing.assert_array_equal(own.state.calibrated.scores, other.state.calibrated.scores)
    first, second = (each.score("Mia", record(1, [20])).files[0] for each in (infants, right))
    assert (first.score, first.p) == (second.score, second.p)


def test_what_no_model_was_made_with_is_taken_out_without_a_new_one(make, record, tmp_path):
    infants = make(gate=gate_folder(tmp_path, "d" * 64, least_p=0.08))
    infants.enroll("Mia", record(1, range(12)))
    infants.score("Mia", record(7, [30]))  # refused
    infants.score("Mia", record(1, [31]))  # waits
    assert len(kept(infants).state.pending) == 1
    for name in ("7-30.wav", "1-31.wav"):
        gone = remove_recording(infants, "Mia", name)
        assert (gone.marked, gone.version, gone.recordings) == ((), 0, 12)
        assert not left(infants.store, *marks_of(gone.recording))
    assert not kept(infants).state.pending and len(kept(infants).records) == 12


def test_versions_without_files_are_marked_with_doubt(make, record):
    infants = make(keep_versions=0)
    for take in range(3):
        infants.enroll("Mia", record(1, [2 * take, 2 * take + 1]))
    assert [version.files is None for version in kept(infants).versions] == [True, True, False]
    gone = remove_recording(infants, "Mia", "1-5.wav")
    assert [version.remark for version in kept(infants).versions] == [PERHAPS, PERHAPS, MARK, None]
    assert gone.marked == (0, 1, 2)


def test_a_recording_is_named_without_doubt(make, record):
    infants = make()
    infants.enroll("Mia", record(1, range(3)))
    digest = kept(infants).records[0].digest
    with pytest.raises(
        StoreError, match="infant 'Mia' has no recording '1-9.wav': `crywatch infan"
    ):
        remove_recording(infants, "Mia", "1-9.wav")
    with pytest.raises(StoreError, match="there is no infant 'Tom'"):
        remove_recording(infants, "Tom", "1-1.wav")
    with pytest.raises(StoreError, match="has no recording ''"):
        remove_recording(infants, "Mia", "")
    assert remove_recording(infants, "Mia", digest[:8]).recording.digest == digest
    assert remove_recording(infants, "Mia", "1-1.wav").recordings == 1


def test_one_spelling_of_a_name_is_one_recording(make, record):
    infants = make()
    infants.enroll("Mia", [*record(1, [1, 2], name="{take} Zoe\u0308.wav"), *record(1, [3])])
    gone = remove_recording(infants, "Mia", "1 Zo\u00eb.wav")
    assert gone.recording.path.endswith("1 Zoe\u0308.wav")


def test_two_files_of_one_name_are_told_apart_by_their_digests(make, record):
    infants = make()
    one = record(1, [1])[0]
    infants.enroll("Mia", [one])
    one.path.write_text("1 2")  # other sound under the same name
    infants.enroll("Mia", [one])
    with pytest.raises(StoreError, match="are 2 recordings of infant 'Mia'"):
        remove_recording(infants, "Mia", "1-1.wav")


def test_the_last_recording_of_a_baseline_is_not_taken_out(make, record):
    infants = make()
    infants.enroll("Mia", record(1, [1]))
    with pytest.raises(StoreError, match="`crywatch infant forget Mia` takes the infant out"):
        remove_recording(infants, "Mia", "1-1.wav")
    assert len(kept(infants).records) == 1


def test_a_recording_that_another_infant_has_stays_with_it(make, record):
    infants = make()
    infants.enroll("Mia", record(1, range(4)))
    infants.enroll("Tom", record(1, range(3, 6)))
    gone = remove_recording(infants, "Mia", "1-3.wav")
    assert gone.also_of == ("Tom",) and len(kept(infants, "Tom").records) == 3
    assert len(left(infants.store, *marks_of(gone.recording))) == 2


def test_a_renamed_infant_scores_as_before_and_the_old_id_is_gone(make, record, tmp_path):
    infants, right = make(), make(store="right")
    for each in (infants, right):
        each.enroll("Zoë", record(1, range(12)))
        each.score("Zoë", record(1, [20, 21, 22]))
    page = tmp_path / "page.html"
    page.write_text("Zoë")
    with infants.store.writing() as writer:
        writer.add_page("Zoë", WrittenPage(str(page), file_sha256(page)))
    gone = rename(infants.store, "Zoë", "infant 7")
    assert gone.pages == (str(page),) and gone.id_searched and gone.searched_for == 2
    assert not left(infants.store, "Zoë".encode(), key_of("Zoë").encode())
    own, other = kept(infants, "infant 7"), kept(right, "Zoë")
    assert [one.digest for one in own.records] == [one.digest for one in other.records]
    assert [replace(band, infant_id="Zoë") for band in own.bands] == list(other.bands)
    assert len(files_of(infants.store)) == len(files_of(right.store))
    first = infants.score("infant 7", record(1, [30])).files[0]
    second = right.score("Zoë", record(1, [30])).files[0]
    assert (first.score, first.p) == (second.score, second.p)
    with pytest.raises(StoreError, match="there is no infant 'Zoë'"):
        rename(infants.store, "Zoë", "x")
    infants.enroll("Tom", record(2, range(3)))
    for taken in ("Tom", "infant 7"):
        with pytest.raises(StoreError, match="already: `crywatch infant merge`"):
            rename(infants.store, "infant 7", taken)


def test_two_ids_become_one_infant(make, record, tmp_path):
    gate = gate_folder(tmp_path, "d" * 64)
    infants, right = make(gate=gate), make(store="right", gate=gate)
    infants.enroll("Mia", record(1, range(6)))
    infants.enroll("mia s.", record(1, range(5, 12)))
    infants.score("mia s.", record(7, [40]))
    right.enroll("Mia", record(1, range(12)))
    merged = merge(infants, "Mia", "mia s.")
    assert (merged.moved, merged.recordings, merged.version) == (7, 12, 1)
    assert merged.promise.promised
    assert not left(infants.store, b"mia s.", key_of("mia s.").encode())
    own, other = kept(infants), kept(right)
    assert own.state.baseline.vectors.tobytes() == other.state.baseline.vectors.tobytes()
    refused = own.records[-1]
    assert not refused.accepted and refused.version == 1 and refused.alarm
    assert refused.score == right.score("Mia", record(7, [40])).files[0].score
    with pytest.raises(StoreError, match="are one id already"):
        merge(infants, "Mia", "Mia")
    with pytest.raises(StoreError, match="there is no infant 'mia s.'"):
        merge(infants, "Mia", "mia s.")


KILLS = {
    "while models are written": lambda: setattr(os, "replace", die),
    "before the records": lambda: setattr(Writer, "put", die),
    "between records and commit": lambda: setattr(
        forgetting, "_remove_pages", then_die(forgetting._remove_pages)
    ),
    "after the commit": lambda: setattr(forgetting, "_rewrite", die),
}
WORKS = {
    "remove": lambda infants: remove_recording(infants, "Mia", "7-10.wav"),
    "rename": lambda infants: rename(infants.store, "Mia", "infant 7"),
    "merge": lambda infants: merge(infants, "Tom", "Mia"),
}


@pytest.mark.parametrize("work", WORKS)
def test_a_kill_leaves_the_state_before_or_after(make, record, work, tmp_path):
    infants = make()
    infants.enroll("Mia", [*record(1, range(6)), *record(7, [10])])
    infants.enroll("Tom", record(2, range(3)))

    def state():
        again = InfantStore(infants.store.folder)
        with again.writing():
            pass
        with again.reading() as reader:
            entries = [(one.infant_id, one.recordings, one.version) for one in reader.entries()]
            for infant_id, _, _ in entries:
                reader.history(infant_id)
        return entries, files_of(again)

    before = state()
    for point, kill in KILLS.items():
        child = in_process(lambda kill=kill: (kill(), WORKS[work](infants)))
        assert ended(child) == 9, point
        assert (state() == before) == (point != "after the commit"), point
