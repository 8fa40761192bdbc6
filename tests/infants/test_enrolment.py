"""Enrolling and scoring a user's infants: what joins a baseline, what is refused, what is said."""

from __future__ import annotations

import hashlib
import os
import unicodedata
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace

import numpy as np
import pytest

from crywatch.audio.waves.condition import Condition
from crywatch.core import params
from crywatch.core.errors import AudioError, ConfigError, CrywatchError, ModelError, StoreError
from crywatch.core.models import save
from crywatch.infants import gate as gates
from crywatch.infants.embed_cries import embedding_info
from crywatch.infants.embedded_cries import EmbeddingInfo, write_embedded
from crywatch.infants.enrolment.enrolment import Enrolment, InfantConfig
from crywatch.infants.enrolment.listening import CryWave, FileCries
from crywatch.infants.enrolment.user_files import UserFile, user_files
from crywatch.infants.models.cosine import unit
from crywatch.infants.store import BASELINE, NEW
from crywatch.speaker.logmel import LogMelStatistics, to_model
from tests.helpers import store_cases as cases
from tests.helpers.embedded_cases import recordings_table, vectors_of
from tests.infants.test_store import ended, files_of, in_process

DAY = timedelta(days=1)


class Ears:
    """In place of a listener: a file holds "VOICE TAKE", which is what is heard in it."""

    def __init__(self, digest="d" * 64):
        self.info, self.scores = SimpleNamespace(digest=digest), None

    def hear(self, path):
        if not path.is_file():
            raise AudioError(f"{path}: no such file")
        text = path.read_text()
        cries = () if text == "silence" else (CryWave(0.0, np.ones(16_000, dtype=np.float32)),)
        digest = hashlib.sha256(text.encode()).hexdigest()
        return FileCries(path, digest, 1.0, cries, Condition())

    def recording_vector(self, heard):
        voice, take = map(int, heard.path.read_text().split())
        rng = np.random.default_rng([voice, take])
        centre = np.random.default_rng(voice).standard_normal(192)
        return unit(centre + 0.6 * rng.standard_normal(192)).astype(np.float32)


@pytest.fixture(scope="module")
def config(tmp_path_factory):
    folder = cases.make_project(tmp_path_factory.mktemp("params"), conformal__loo_below=20)
    return params.section("infant", InfantConfig, folder / "params.yaml")


@pytest.fixture
def make(config, tmp_path):
    def infants(ears=None, **changes):
        made = Enrolment(replace(config, **changes), 1, tmp_path, said.append)
        made.__dict__["listener"] = ears or Ears()
        made.said = said
        return made

    said: list[str] = []
    return infants


def sounds(folder):
    """Files of a voice: the number of the take is that of the day, or what is given."""

    def files(voice, takes, day=None, name="{voice}-{take}.wav"):
        out = []
        for take in takes:
            path = folder / "sounds" / name.format(voice=voice, take=take)
            path.parent.mkdir(exist_ok=True)
            path.write_text(f"{voice} {take}")
            out.append(UserFile(path, cases.START + (take if day is None else day) * DAY))
        return out

    return files


@pytest.fixture
def record(tmp_path):
    return sounds(tmp_path)


def kept(infants, infant_id="Mia"):
    with infants.store.reading() as reader:
        return reader.load(infant_id)


def test_an_infant_is_fitted_and_calibrated_on_what_is_enrolled(make, record):
    infants = make()
    found = infants.enroll("Mia", record(1, range(12)))
    assert (found.new, found.recordings, found.sessions, found.version) == (12, 12, 12, 0)
    assert found.promise.promised and found.promise.n == 12
    own = kept(infants)
    assert [one.phase for one in own.records] == [BASELINE] * 12
    scores = [one.score for one in own.records]
    np.testing.assert_array_equal(scores, own.state.calibrated.scores)
    assert own.bands[0].high <= max(scores)


def test_too_small_a_baseline_promises_nothing_and_says_why(make, record):
    infants = make()
    promise = infants.enroll("Mia", record(1, range(5))).promise
    assert not promise.promised and "5 clips cannot reach 0.1" in promise.reason
    one_session = infants.enroll("Tom", record(2, range(5), day=0))
    assert one_session.sessions == 1 and "record another session" in one_session.promise.reason
    scored = infants.score("Tom", record(2, [20]))
    assert not scored.files[0].alarm and not scored.promise.promised


def test_more_recordings_extend_the_baseline_and_known_ones_are_skipped(make, record):
    infants = make()
    infants.enroll("Mia", record(1, range(4, 8)))
    # Earlier ones, a copy under another name, and the same files again.
    copy = record(1, [5], day=30, name="copy.wav")
    found = infants.enroll("Mia", [*record(1, range(8)), *copy])
    assert (found.new, found.recordings, found.version) == (4, 8, 1)
    assert len([one for one in infants.said if "known already" in one]) == 5
    own = kept(infants)
    assert [one.recorded_at for one in own.records] == [cases.START + n * DAY for n in range(8)]
    assert [one.session_id for one in own.records] == [f"{n:04d}" for n in range(8)]
    again = infants.enroll("Mia", record(1, range(8)))
    assert (again.new, again.version) == (0, 1) and len(files_of(infants.store)) == 4


def test_order_and_portions_of_enrolling_do_not_matter(make, record, config, tmp_path):
    one, other = make(), make(store="other")
    one.enroll("Mia", record(1, range(8)))
    other.enroll("Mia", record(1, [6, 1, 7]))
    other.enroll("Mia", record(1, [0, 5, 2, 4, 3]))
    first, second = kept(one).state, kept(other).state
    assert first.baseline.vectors.tobytes() == second.baseline.vectors.tobytes()
    np.testing.assert_array_equal(first.calibrated.scores, second.calibrated.scores)


def test_sessions_are_six_hours_apart(make, record):
    infants = make()
    files = record(1, range(4))
    times = [0, 5.9, 11.8, 17.8]
    files = [
        replace(file, recorded_at=cases.START + timedelta(hours=hours))
        for file, hours in zip(files, times, strict=True)
    ]
    assert infants.enroll("Mia", files).sessions == 2
    assert [one.session_id for one in kept(infants).records] == ["0000"] * 3 + ["0001"]


def test_scoring_tells_others_from_the_infant_and_moves_its_baseline(make, record):
    infants = make()
    infants.enroll("Mia", record(1, range(12)))
    found = infants.score("Mia", record(1, [20, 22, 21]))
    assert [one.path[-6:-4] for one in found.files] == ["20", "21", "22"]
    assert all(one.accepted and one.p > 1 / 13 for one in found.files)
    assert [one.version for one in found.files] == [0, 0, 1]
    strangers = infants.score("Mia", record(7, [30]))
    assert strangers.files[0].alarm and strangers.files[0].p == pytest.approx(1 / 15)
    own = kept(infants)
    assert own.state.version == 1 and [one.version for one in own.bands] == [0, 1]
    assert [one.phase for one in own.records] == [BASELINE] * 12 + [NEW] * 4
    assert [one.waiting for one in own.records] == [False] * 14 + [True] * 2


def test_scoring_in_portions_is_scoring_at_once(make, record):
    at_once, in_turn = make(), make(store="other")
    for infants in (at_once, in_turn):
        infants.enroll("Mia", record(1, range(10)))
    whole = at_once.score("Mia", record(1, range(20, 30))).files
    parts = [f for n in range(20, 30) for f in in_turn.score("Mia", record(1, [n])).files]
    assert list(whole) == parts
    first, second = kept(at_once), kept(in_turn)
    assert first.bands == second.bands and len(first.bands) > 2
    assert first.state.baseline.vectors.tobytes() == second.state.baseline.vectors.tobytes()


def test_only_the_latest_earlier_versions_keep_their_files(make, record):
    infants = make(keep_versions=2)
    for take in range(5):
        infants.enroll("Mia", record(1, [2 * take, 2 * take + 1]))
    infants.score("Mia", record(1, range(20, 24)))
    own = kept(infants)
    assert own.state.version == 5
    assert [version.files is None for version in own.versions] == [True] * 3 + [False] * 3
    with infants.store.writing():
        pass
    assert len(files_of(infants.store)) == 6 and len(own.bands) == 6
    with pytest.raises(ConfigError, match="keep_versions is -1"):
        make(keep_versions=-1)


def test_versions_that_a_person_has_to_look_at_keep_their_files(make, record, tmp_path):
    gate = gate_folder(tmp_path, "d" * 64, least_p=0.01)
    infants = make(keep_versions=0, gate=gate)
    infants.enroll("Mia", record(1, range(12)))
    infants.score("Mia", record(1, range(20, 26)))
    infants.score("Mia", record(7, range(30, 40)))
    own = kept(infants)
    assert own.records[-1].reason.startswith("held")
    kept_files = {one.band.version for one in own.versions if one.files is not None}
    assert kept_files == {one.version for one in own.records[-12:]} | {own.state.version}
    assert len(kept_files) > 1


def gate_folder(tmp_path, digest, least_p=0.2):
    gates.save(tmp_path / "gate", gates.BaselineGate(None, None, least_p), {"digest": digest})
    return "gate"


def test_a_refused_recording_leaves_every_model_byte(make, record, tmp_path):
    infants = make(gate=gate_folder(tmp_path, "d" * 64))
    infants.enroll("Mia", record(1, range(12)))
    before = {name: (infants.store.folder / name).read_bytes() for name in files_of(infants.store)}
    found = infants.score("Mia", record(7, range(30, 36)))
    assert not any(one.accepted for one in found.files)
    assert "not normal: p" in found.files[0].reason
    after = {name: (infants.store.folder / name).read_bytes() for name in files_of(infants.store)}
    assert after == before and kept(infants).state.version == 0
    # A person overrules the gate.
    again = infants.enroll("Mia", record(7, range(30, 33)))
    assert (again.new, again.recordings, again.version) == (3, 15, 1)
    reasons = [one.reason for one in kept(infants).records]
    assert [reason is None for reason in reasons] == [True] * 15 + [False] * 3


def test_what_was_accepted_joins_the_next_enrolment(make, record):
    infants = make()
    infants.enroll("Mia", record(1, range(8)))
    infants.score("Mia", record(1, [20]))
    found = infants.enroll("Mia", record(1, [8, 9]))
    assert (found.new, found.recordings, found.version) == (2, 11, 1)
    own = kept(infants)
    assert not own.state.pending and own.records[-1].phase == NEW and own.records[-1].version == 0


def test_known_and_early_recordings_are_not_scored(make, record):
    infants = make()
    infants.enroll("Mia", record(1, range(5, 10)))
    infants.score("Mia", record(1, [20]))
    found = infants.score("Mia", [*record(1, [5, 20, 15, 21])])
    assert [one.path[-6:-4] for one in found.files] == ["21"]
    assert "15.wav: of 2025-03-16" in found.failed[0].error and len(found.failed) == 1
    assert len([one for one in infants.said if "known already" in one]) == 2
    assert len(kept(infants).records) == 7


WRONG = {
    "of the future": datetime.now(UTC) + 3 * DAY,
    "of 1970": datetime.fromtimestamp(0, UTC),
    "of 2000": datetime(2000, 1, 1, tzinfo=UTC),
}


@pytest.mark.parametrize("clock", WRONG)
def test_a_recording_of_a_wrong_clock_is_refused(make, record, clock):
    infants = make()
    late = replace(record(1, [50])[0], recorded_at=WRONG[clock])
    found = infants.enroll("Mia", [*record(1, range(12)), late])
    assert (
        found.new == 12 and f"{late.path}: {WRONG[clock].isoformat()} is " in found.failed[0].error
    )
    assert "--at" in found.failed[0].error
    scored = infants.score("Mia", [*record(1, [20]), late])
    assert len(scored.files) == 1 and [one.path for one in scored.failed] == [str(late.path)]
    assert not any(one.path == str(late.path) for one in kept(infants).records)


def test_a_doubtful_clock_is_told(make, record):
    infants = make()
    first = datetime(2025, 1, 1, 0, 3, tzinfo=UTC)
    assert infants.enroll("Mia", [replace(record(1, [0])[0], recorded_at=first)]).new == 1
    assert "1-0.wav: 2025-01-01T00:03:00+00:00 may be of a clock" in infants.said[0]


def test_another_time_that_is_stated_corrects_the_one_that_is_known(make, record):
    infants, right = make(), make(store="right")
    members = record(1, range(12))
    far = replace(members[3], recorded_at=cases.START + 300 * DAY)
    infants.enroll("Mia", [*members[:3], far, *members[4:]])
    right.enroll("Mia", members)
    # The modification time of a copy is no statement.
    assert infants.enroll("Mia", [members[3]]).corrected == 0
    assert "known already" in infants.said[-1]
    infants.score("Mia", [replace(members[3], stated=True)])
    assert "its time stays 2025-12-26T08:00:00+00:00: `crywatch infant enroll`" in infants.said[-1]

    found = infants.enroll("Mia", [replace(members[3], stated=True)])
    assert (found.new, found.corrected, found.recordings, found.version) == (0, 1, 12, 1)
    assert "3.wav: its time is 2025-03-04T08:00:00+00:00, no longer 2025-12-26" in infants.said[-1]
    own, other = kept(infants), kept(right)
    when = [(one.recorded_at, one.session_id, one.score) for one in own.records]
    assert when == [(one.recorded_at, one.session_id, one.score) for one in other.records]
    assert own.state.baseline.vectors.tobytes() == other.state.baseline.vectors.tobytes()
    assert {band.since for band in own.bands} == {members[-1].recorded_at}
    assert len(infants.score("Mia", record(1, [20])).files) == 1
    assert infants.enroll("Mia", [replace(members[3], stated=True)]).corrected == 0


def test_an_unknown_infant_is_an_error_before_anything_is_heard(make, record):
    infants = make(ears=SimpleNamespace())
    with pytest.raises(StoreError, match="there is no infant 'Mia' .*enroll` adds one"):
        infants.score("Mia", record(1, [1]))
    with pytest.raises(StoreError, match="no infant 'Mia'"):
        make().enroll("Mia", [])


def test_bad_and_silent_files_are_told_and_left_out(make, record, tmp_path):
    infants = make()
    silent = UserFile(tmp_path / "silent.wav", cases.START)
    silent.path.write_text("silence")
    gone = UserFile(tmp_path / "gone.wav", cases.START)
    found = infants.enroll("Mia", [*record(1, range(3)), silent, gone])
    assert found.new == 3 and [one.path for one in found.failed] == [str(gone.path)]
    assert any("silent.wav: no cry was found" in one for one in infants.said)
    with pytest.raises(StoreError, match="no cry to enroll infant 'Tom' with"):
        infants.enroll("Tom", [silent])
    with pytest.raises(StoreError, match="no cry to enroll infant 'Tom' with"):
        infants.enroll("Tom", [gone])
    assert infants.said[-1] == f"{gone.path}: no such file"
    assert infants.score("Mia", [silent]).files == ()


def test_other_settings_are_noticed_and_fitting_again_helps(make, record, config):
    infants = make()
    infants.enroll("Mia", record(1, range(12)))
    stricter = make(conformal=replace(config.conformal, rate=0.2))
    with pytest.raises(StoreError, match="fit it again .*`crywatch infant enroll Mia`"):
        stricter.score("Mia", record(1, [20]))
    assert stricter.enroll("Mia", []).version == 1
    assert stricter.score("Mia", record(1, [20])).promise.rate == 0.2


def test_another_network_is_noticed(make, record):
    make().enroll("Mia", record(1, range(12)))
    other = make(ears=Ears("e" * 64))
    for command in (other.score, other.enroll):
        with pytest.raises(StoreError, match="embedded with another network .*infant forget Mia`"):
            command("Mia", record(1, [20]))


def test_the_network_that_an_infant_was_embedded_with_is_named(make, record, config, tmp_path):
    networks = (tmp_path / config.hearing.network).parent
    statistics = LogMelStatistics(np.zeros(128), np.ones(128))
    save(networks / "logmel", to_model(statistics, "logmel", ["toy"]))
    digest = embedding_info(networks / "logmel", config.hearing.averaging).digest
    make(ears=Ears(digest)).enroll("Mia", record(1, range(12)))
    with pytest.raises(StoreError, match="another network, logmel, than"):
        make().score("Mia", record(1, [20]))


def cohort_folder(folder, digest, seed=1):
    frame = recordings_table({f"c{seed}{n}": 4 for n in range(6)})
    info = EmbeddingInfo("ge2e", digest, 192, 0, 3.0)
    write_embedded(folder, info, frame, vectors_of(frame))


def test_another_cohort_is_noticed(make, record, config, tmp_path):
    settings = replace(config.settings, cohort=replace(config.settings.cohort, top_k=3))
    cohort_folder(tmp_path / "cohort", "d" * 64)
    make(settings=settings, cohort="cohort").enroll("Mia", record(1, range(12)))
    assert make(settings=settings, cohort="cohort").score("Mia", record(1, [20])).files
    cohort_folder(tmp_path / "cohort", "d" * 64, seed=2)
    with pytest.raises(StoreError, match="another model, settings or cohort"):
        make(settings=settings, cohort="cohort").score("Mia", record(1, [21]))
    cohort_folder(tmp_path / "cohort", "f" * 64)
    with pytest.raises(ModelError, match="cohort was made with another network .*embed_cries"):
        make(settings=settings, cohort="cohort").enroll("Tom", record(1, [1]))


def test_a_gate_of_another_network_is_noticed(make, record, tmp_path):
    with pytest.raises(ModelError, match="another network .*dvc repro fit_infants"):
        make(gate=gate_folder(tmp_path, "f" * 64)).enroll("Mia", record(1, range(3)))


def test_two_processes_enroll_one_infant(make, record):
    portions = [record(1, range(first, 24, 2)) for first in (0, 1)]
    infants = make()
    children = [in_process(lambda p=portion: make().enroll("Mia", p)) for portion in portions]
    assert [ended(child) for child in children] == [0, 0]
    own = kept(infants)
    assert [one.recorded_at for one in own.records] == [cases.START + n * DAY for n in range(24)]
    assert len(own.state.baseline) == 24 and own.state.version == 1


def test_a_missing_detector_is_no_fault_of_the_files(make, record):
    class Deaf(Ears):
        @property
        def scores(self):
            raise ModelError("no model here")

        @scores.setter
        def scores(self, value):
            pass

    with pytest.raises(ModelError, match="no model here"):
        make(ears=Deaf()).enroll("Mia", record(1, range(3)))


def test_paths_are_said_as_given_and_kept_for_commands_elsewhere(
    make, record, tmp_path, monkeypatch
):
    infants = make()
    infants.enroll("Mia", record(1, range(4)))
    monkeypatch.chdir(tmp_path / "sounds")
    file = record(1, [20])[0]
    given = replace(file, path=file.path.relative_to(tmp_path / "sounds"))
    assert infants.score("Mia", [given]).files[0].path == "1-20.wav"
    assert kept(infants).records[-1].path == str(file.path)
    infants.score("Mia", [given])
    assert infants.said[-1] == "1-20.wav: this recording is known already, so it is skipped"


def test_a_name_that_is_no_utf8_is_escaped(make, record):
    infants = make()
    infants.enroll("Mia", record(1, range(4)))
    found = infants.score("Mia", record(1, [20], name="{take}\udcff.wav")).files[0]
    assert found.path.endswith("20\\udcff.wav") and kept(infants).records[-1].path == found.path


def test_times_come_from_the_table_then_the_command_then_the_file(tmp_path):
    folder = cases.nursery(tmp_path / "sounds", "Mia", 2, of_session=1)
    other = cases.sing(folder / "other.wav", 1)
    os.utime(other, (1.7e9, 1.7e9))
    table, said = folder / "recordings.csv", []
    files = user_files([folder], "Mia", table, None, said.append)
    assert [file.recorded_at for file in files] == [
        cases.START,
        cases.START + 2 * DAY,
        datetime.fromtimestamp(1.7e9, UTC),
    ]
    assert [file.stated for file in files] == [True, True, False]
    assert len(said) == 1 and "other.wav: its modification time, 2023-11-14T22:13:20" in said[0]
    files = user_files([other], "Mia", table, "2025-01-02T03:04:05+01:00", said.append)
    assert files[0].recorded_at == datetime(2025, 1, 2, 2, 4, 5, tzinfo=UTC) and len(said) == 1
    assert len(user_files([], "Mia", table, None, said.append)) == 2
    with pytest.raises(CrywatchError, match="no recording of infant 'Tom'; column infant names 'M"):
        user_files([], "Tom", table, None, said.append)
    table.write_text(table.read_text().replace("Mia,", ","))
    assert len(user_files([], "Tom", table, None, said.append)) == 2
    table.write_text(table.read_text().replace(",,", ",Mia,"))
    with pytest.raises(CrywatchError, match="by the table it is of infant 'Mia'"):
        user_files([folder / "Mia 000.wav"], "Tom", table, None, said.append)
    with pytest.raises(CrywatchError, match="--at: 'monday' is not a time"):
        user_files([other], "Mia", None, "monday", said.append)
    with pytest.raises(CrywatchError, match="must be named recordings.csv"):
        user_files([other], "Mia", tmp_path / "t.csv", None, said.append)
    with pytest.raises(CrywatchError, match="recordings.csv: no such file"):
        user_files([], "Mia", tmp_path / "recordings.csv", None, said.append)
    for text, why in (("1970-01-01", "is before 2000"), ("2199-01-01", "is after now")):
        with pytest.raises(CrywatchError, match=f"--at: {text}.* {why}"):
            user_files([other], "Mia", None, text, said.append)
    with pytest.raises(CrywatchError, match="--at: '0001-01-01' is of the year 1"):
        user_files([other], "Mia", None, "0001-01-01", said.append)
    user_files([folder], "Mia", None, None, said.append)
    assert len(said) == 2 and "3 files: their modification times, from 2023-11-14T" in said[1]


def test_a_table_in_another_spelling_of_accents_is_of_the_same_files_and_infant(tmp_path):
    nfc, nfd = (unicodedata.normalize(form, "Zoé") for form in ("NFC", "NFD"))
    for on_disk, listed in ((nfc, nfd), (nfd, nfc)):
        folder = tmp_path / on_disk / "sounds"
        folder.mkdir(parents=True)
        file = cases.sing(folder / f"{on_disk}.wav", 1)
        table = folder / "recordings.csv"
        table.write_text(f"path,infant,recorded_at\n{listed}.wav,{listed},2025-01-02\n")
        for paths, infant_id in (([file], on_disk), ([], on_disk), ([], listed)):
            [one] = user_files(paths, infant_id, table, None, pytest.fail)
            assert one.path == file and one.recorded_at == datetime(2025, 1, 2, tzinfo=UTC)


def test_a_remark_of_the_table_is_kept(tmp_path, make):
    folder = cases.nursery(tmp_path / "sounds", "Mia", 1, of_session=1)
    text = (folder / "recordings.csv").read_text().replace("+00:00,", "+00:00,after a fever")
    (folder / "recordings.csv").write_text(text)
    files = user_files([], "Mia", folder / "recordings.csv", None, print)
    assert files[0].remark == "after a fever"
