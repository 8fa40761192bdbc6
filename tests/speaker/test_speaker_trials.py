"""Trial lists within and across sessions, cosine scores, and CryCeleb's protocol on its layout."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest

from crywatch.audio.decode import decode
from crywatch.core.errors import TableError
from crywatch.corpora.shared import cryceleb_tables
from crywatch.speaker import trials as module
from crywatch.speaker.batches import AveragingConfig
from crywatch.speaker.trials import (
    TrialConfig,
    TrialList,
    by_trial,
    cosine_scores,
    cryceleb_trials,
    cryceleb_utterances,
    embed_utterances,
    session_trials,
)
from crywatch.speaker.verification import VerificationConfig, verify
from tests.helpers.generated import generated

HOURS = pd.Timestamp("2015-06-01", tz="UTC") + pd.to_timedelta(range(100), unit="h")


def clips(rows, columns=("clip_id", "infant_id", "session_id", "recorded_at")) -> pd.DataFrame:
    return pd.DataFrame(rows, columns=list(columns))


def pairs(trials: TrialList, same: bool) -> set[str]:
    rows = trials.same == same
    return {f"{a}{b}" for a, b in zip(trials.first[rows], trials.second[rows], strict=True)}


TABLE = clips(
    [
        ("a", "x", "x0", HOURS[0]),
        ("b", "x", "x0", HOURS[1]),
        ("c", "x", "x1", HOURS[8]),
        ("d", "x", "x1", HOURS[20]),
        ("e", "y", "y0", HOURS[0]),
        ("f", "y", "y1", HOURS[5]),
        ("g", None, "z", HOURS[0]),
    ]
)


def test_within_and_across_sessions():
    found = session_trials(TABLE, TrialConfig(), 0)
    assert pairs(found.within, True) == {"ab", "cd"}
    # Sessions of y are 5 h apart: neither one session nor far enough.
    assert pairs(found.across, True) == {"ac", "ad", "bc", "bd"}
    others = {p + q for p in "abcd" for q in "ef"}
    assert pairs(found.within, False) == pairs(found.across, False) == others
    assert "ef" in pairs(session_trials(TABLE, TrialConfig(gap_s=5 * 3600), 0).across, True)


def test_infants_stand_beside_their_sounds():
    found = session_trials(TABLE, TrialConfig(), 0).across
    owner = dict(zip(TABLE["clip_id"], TABLE["infant_id"], strict=True))
    assert [owner[name] for name in found.first] == found.first_infant.tolist()
    assert [owner[name] for name in found.second] == found.second_infant.tolist()
    assert (found.same == (found.first_infant == found.second_infant)).all()


def test_times_alone_decide_where_there_are_no_sessions():
    found = session_trials(TABLE.drop(columns="session_id"), TrialConfig(), 0)
    assert pairs(found.within, True) == {"ab", "ef"}
    assert pairs(found.across, True) == {"ac", "ad", "bc", "bd", "cd"}


def test_sessions_alone_decide_where_times_are_not_known():
    table = TABLE.assign(recorded_at=[HOURS[0], *[pd.NaT] * 6])
    for given in (table, TABLE.drop(columns="recorded_at")):
        found = session_trials(given, TrialConfig(), 0)
        assert pairs(found.within, True) == {"ab", "cd"}
        assert pairs(found.across, True) == {"ac", "ad", "bc", "bd", "ef"}
    neither = session_trials(TABLE[["clip_id", "infant_id"]], TrialConfig(), 0)
    assert pairs(neither.within, True) == pairs(neither.across, True) == set()


def test_a_session_is_one_session_however_long():
    table = clips([(name, "x", "x0", HOURS[5 * at]) for at, name in enumerate("abc")])
    found = session_trials(table, TrialConfig(), 0)
    assert pairs(found.within, True) == {"ab", "ac", "bc"} and len(found.across) == 0


def test_one_sound_is_no_pair():
    table = TABLE.assign(
        recording_id=["r0", "r0", "r1", "r2", "r3", "r4", "r5"],
        cluster_id=[None, "k", None, "k", None, None, None],
    )
    found = session_trials(table, TrialConfig(), 0)
    assert pairs(found.within, True) == {"cd"}
    assert pairs(found.across, True) == {"ac", "ad", "bc"}
    assert pairs(session_trials(table, TrialConfig(), 0, apart=()).within, True) == {"ab", "cd"}


def test_pairs_of_two_infants_stay_within_a_corpus():
    table = TABLE.assign(corpus=["one"] * 4 + ["one", "two", "one"])
    found = session_trials(table, TrialConfig(), 0)
    assert pairs(found.within, False) == {"ae", "be", "ce", "de"}


def big(infants: int, each: int) -> pd.DataFrame:
    return clips(
        [
            (f"{i:03d}/{n:03d}", f"i{i}", f"i{i}/{n // 4}", HOURS[(n // 4) * 7 % 90])
            for i in range(infants)
            for n in range(each)
        ]
    )


@pytest.mark.parametrize("shape", [(4, 40), (30, 24)])  # few enough to be listed, and too many
def test_no_infant_decides_alone_and_draws_are_repeatable(shape, monkeypatch):
    table, config = big(*shape), TrialConfig(per_infant=10, others=300)
    found = session_trials(table, config, 0)
    for listed in (found.within, found.across):
        own = pd.Series(listed.first_infant[listed.same]).value_counts()
        assert set(own) == {10} and len(own) == shape[0]
        assert (~listed.same).sum() == 300
        keys = [frozenset(pair) for pair in zip(listed.first, listed.second, strict=True)]
        assert len(set(keys)) == len(keys)
        assert all(len(key) == 2 for key in keys)
    again = session_trials(table.sample(frac=1, random_state=3), config, 0)
    np.testing.assert_array_equal(again.across.first, found.across.first)
    np.testing.assert_array_equal(again.across.second, found.across.second)
    other = session_trials(table, config, 1)
    assert (other.across.first != found.across.first).any()


def test_drawn_pairs_are_even_over_all():
    """No infant and no pair of a first and a last clip is preferred."""
    table = big(30, 24)  # 720 clips: 250,560 pairs of two infants
    found = session_trials(table, TrialConfig(others=20_000), 0).within
    two = found.first[~found.same], found.second[~found.same]
    counts = pd.Series(np.concatenate(two)).value_counts()
    assert len(counts) == 720 and counts.max() < 2 * counts.mean() and counts.min() > 15
    assert (two[0] < two[1]).all()


def test_missing_columns_are_told():
    with pytest.raises(TableError, match="column infant_id is missing"):
        session_trials(TABLE[["clip_id"]], TrialConfig(), 0)


def test_cosines():
    names = np.array(["a", "a", "b"]), np.array(["b", "c", "c"])
    listed = TrialList(*names, *names, np.zeros(3, dtype=bool))
    vectors = {"a": [2.0, 0.0], "b": [3.0, 3.0], "c": [-1.0, 0.0], "unused": [np.nan, 0.0]}
    np.testing.assert_allclose(cosine_scores(listed, vectors), [0.5**0.5, -1, -(0.5**0.5)])
    del vectors["b"]
    with pytest.raises(TableError, match="'b' has no embedding"):
        cosine_scores(listed, vectors)


# CryCeleb's protocol


@pytest.fixture(scope="module")
def corpus(tmp_path_factory):
    folder = tmp_path_factory.mktemp("cryceleb")
    generated("cryceleb", folder, seed=0, infants=20)
    return folder


def test_utterances_join_the_cries_of_a_baby_and_period_in_their_order(corpus):
    found = {u.name: u for u in cryceleb_utterances(corpus, "dev")}
    babies = {cry.baby_id for cry in cryceleb_tables.read_metadata(corpus) if cry.part == "dev"}
    assert set(found) == {f"{baby}/{period}" for baby in babies for period in "BD"}
    for name, utterance in found.items():
        baby, period = name.split("/")
        expected = [f"audio/dev/{baby}/{period}/{baby}_{period}_{n:03d}.wav" for n in (1, 2, 3)]
        assert list(utterance.paths) == expected and utterance.infant_id == baby


def test_the_order_of_time_is_that_of_the_numbers(corpus, tmp_path):
    lines = (corpus / cryceleb_tables.META).read_text().splitlines()
    (tmp_path / cryceleb_tables.META).write_text("\n".join([lines[0], *lines[:0:-1]]) + "\n")
    assert cryceleb_utterances(tmp_path, "dev") == cryceleb_utterances(corpus, "dev")


def test_the_dev_protocol(corpus):
    pairs_of_dev = cryceleb_tables.read_pairs(corpus, "dev")
    listed = cryceleb_trials(pairs_of_dev)
    utterances = cryceleb_utterances(corpus, "dev")
    seen: list[int] = []

    def load(path):
        wave = decode(corpus / path).wave
        seen.append(len(wave))
        return wave

    def embed(waves):
        # An oracle would need the voice; the three loudest bins of the spectrum will do.
        spectra = [np.abs(np.fft.rfft(wave, 4096)) for wave in waves]
        return np.stack([np.log(s[60:180].reshape(-1, 4).mean(axis=1) + 1e-3) for s in spectra])

    vectors = embed_utterances(utterances, load, embed, AveragingConfig(0), 0)
    assert len(seen) == sum(len(u.paths) for u in utterances)
    assert set(vectors) == {u.name for u in utterances}
    scores = cosine_scores(listed, vectors)
    found = verify(listed, scores, VerificationConfig(resamples=20), 0)
    assert found.n_same == found.n_infants == len(utterances) // 2
    assert found.n_same + found.n_other == found.n_infants**2 == len(pairs_of_dev)
    first = pairs_of_dev[0]
    a, b = vectors[f"{first.baby_b}/B"], vectors[f"{first.baby_d}/D"]
    assert scores[0] == pytest.approx(float(a @ b))


def test_crops_of_an_utterance_depend_on_its_name_and_the_seed_alone(corpus):
    utterances = cryceleb_utterances(corpus, "dev")[:3]

    def load(path):
        return decode(corpus / path).wave

    def embed(waves):
        return np.stack([wave[:50] for wave in waves])

    def vectors(chosen, seed=0):
        return embed_utterances(chosen, load, embed, AveragingConfig(3, 0.2), seed)

    whole, alone = vectors(utterances), vectors(utterances[2:])
    name = utterances[2].name
    np.testing.assert_array_equal(whole[name], alone[name])
    assert (vectors(utterances, 1)[name] != whole[name]).any()


def test_a_submission_of_the_test_pairs(corpus, tmp_path):
    pairs_of_test = cryceleb_tables.read_pairs(corpus, "test")
    listed = cryceleb_trials(pairs_of_test)
    assert listed.same is None
    with pytest.raises(TableError, match="their publisher keeps back"):
        verify(listed, np.zeros(len(listed)), VerificationConfig(), 0)
    rng = np.random.default_rng(0)
    vectors = {u.name: rng.standard_normal(4) for u in cryceleb_utterances(corpus, "test")}
    scores = cosine_scores(listed, vectors)
    path = tmp_path / "submission.csv"
    cryceleb_tables.write_submission(path, pairs_of_test, by_trial(pairs_of_test, scores))
    written = pd.read_csv(path)
    assert written["id"].tolist() == [pair.trial_id for pair in pairs_of_test]
    np.testing.assert_allclose(written["score"], scores)


def test_a_label_that_is_kept_back_once_is_kept_back(corpus):
    mixed = [
        *cryceleb_tables.read_pairs(corpus, "dev"),
        *cryceleb_tables.read_pairs(corpus, "test"),
    ]
    assert cryceleb_trials(mixed).same is None
    assert module.SAME_SOUND == ("recording_id", "cluster_id")
