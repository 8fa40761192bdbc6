"""Every model keeps the contract: own normal near, others far, no infant felt by another."""

from __future__ import annotations

import numpy as np
import pytest

from crywatch.core.errors import ConfigError, ModelError
from crywatch.infants.models import registry as models
from crywatch.infants.models.cohort import CohortConfig, SNormalised
from crywatch.infants.models.contract import (
    Baseline,
    group_alike,
    held_out,
    pad_rows,
    split_portions,
    stack_padded,
)
from crywatch.infants.models.cosine import Cosine
from crywatch.infants.models.mahalanobis import Mahalanobis, MahalanobisConfig
from crywatch.infants.models.mixture import MixtureModel
from crywatch.infants.models.mixture_iclas import MixtureIclas, n_parameters
from crywatch.infants.models.one_class_svm import OneClassSvm, OneClassSvmConfig
from tests.helpers import infants_cases as cases

EVERY = [(name, 0) for name in models.MODELS] + [(name, 5) for name in models.NORMALISED]


def build(name: str, top_k: int = 0):
    cohort = cases.infants(12, 6, seed=7, prefix="cohort")
    return models.build(name, cases.models_config(top_k, steps=20), seed=3, cohort=cohort)


@pytest.mark.parametrize(("name", "top_k"), EVERY)
def test_an_infant_is_fitted_alike_alone_or_among_fifty(name, top_k, one_thread):
    model = build(name, top_k)
    babies = cases.infants(50, (3, 30), session_clips=3)
    clips = [baby.vectors for baby in cases.infants(50, (1, 9), seed=4)]
    together = model.fit(babies)
    scores = model.score(together, clips)
    for row in (0, 17, 49):
        alone = model.fit([babies[row]])[0]
        assert set(alone) == set(together[row])
        for key, array in alone.items():
            np.testing.assert_allclose(together[row][key], array, rtol=1e-4, atol=1e-6)
        ours = model.score([alone], [clips[row]])[0]
        np.testing.assert_allclose(scores[row], ours, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize(("name", "top_k"), EVERY)
def test_fits_again_to_the_same_numbers(name, top_k):
    babies = cases.infants(3, (8, 20), session_clips=2)
    first, second = build(name, top_k).fit(babies), build(name, top_k).fit(babies)
    for one, other in zip(first, second, strict=True):
        assert all(np.array_equal(one[key], other[key]) for key in one)


@pytest.mark.parametrize(("name", "top_k"), EVERY)
def test_new_clips_of_an_infant_are_nearer_than_those_of_others(name, top_k):
    model = build(name, top_k)
    babies = cases.infants(10, 30, spread=0.8)
    known = [baby.only(np.arange(20)) for baby in babies]
    new = [baby.vectors[20:] for baby in babies]
    fitted = model.fit(known)
    own = np.concatenate(model.score(fitted, new))
    others = np.concatenate(model.score(fitted, new[1:] + new[:1]))
    assert own.shape == others.shape == (100,)
    assert np.quantile(own, 0.95) < np.quantile(others, 0.05)


@pytest.mark.parametrize(("name", "top_k"), EVERY)
def test_cross_scores_are_those_of_each_model(name, top_k):
    model = build(name, top_k)
    fitted = model.fit(cases.infants(4, (2, 25)))
    vectors = cases.infants(1, 7, seed=5)[0].vectors
    wanted = model.score(fitted, [vectors] * 4)
    np.testing.assert_allclose(model.cross(fitted, vectors), wanted, rtol=1e-4, atol=1e-6)
    assert model.cross([], vectors).shape == (0, 7)


@pytest.mark.parametrize(("name", "top_k"), EVERY)
def test_one_clip_and_equal_clips_give_finite_scores(name, top_k):
    model = build(name, top_k)
    one = cases.infants(1, 1)[0]
    same = Baseline("same", np.repeat(one.vectors, 6, axis=0), np.arange(6))
    fitted = model.fit([one, same])
    clips = cases.infants(1, 4, seed=8)[0].vectors
    for scores in model.score(fitted, [clips, clips]):
        assert scores.shape == (4,) and np.isfinite(scores).all()
    assert [len(s) for s in model.score(fitted, [clips[:0], clips[:1]])] == [0, 1]
    assert model.fit([]) == [] and model.score([], []) == []


def test_mahalanobis_is_that_of_scikit_learns_ledoit_wolf():
    from sklearn.covariance import LedoitWolf

    model = Mahalanobis(MahalanobisConfig(least_variance=1e-12))
    for n, dim in ((5, 40), (60, 40), (200, 12)):
        rng = np.random.default_rng(n)
        vectors = rng.standard_normal((n, dim)) * np.linspace(0.2, 2, dim) + 1
        new = rng.standard_normal((9, dim))
        reference = LedoitWolf().fit(vectors)
        ours = model.score(model.fit([Baseline("a", vectors, np.arange(n))]), [new])[0]
        np.testing.assert_allclose(ours**2, reference.mahalanobis(new), rtol=1e-5)


@pytest.mark.parametrize(("name", "nu"), [("one_class_svm", 0.1), ("one_class_svm_nu005", 0.05)])
def test_one_class_svm_is_scikit_learns_with_gamma_scale(name, nu):
    from sklearn.svm import OneClassSVM

    baby = cases.infants(1, 25)[0]
    new = cases.infants(1, 9, seed=2)[0].vectors
    model = build(name)
    assert model.name == name
    ours = model.score(model.fit([baby]), [new])[0]
    reference = OneClassSVM(nu=nu, gamma="scale").fit(baby.vectors.astype(float))
    np.testing.assert_allclose(ours, -reference.decision_function(new.astype(float)), atol=1e-9)


def test_jobs_change_nothing():
    from joblib import parallel_config

    babies = cases.infants(4, 12)
    for one, two in (
        [OneClassSvm(OneClassSvmConfig(0.1, jobs)) for jobs in (1, 2)],
        [MixtureModel(cases.mixture(jobs=jobs), 1) for jobs in (1, 2)],
    ):
        with parallel_config(backend="threading"):
            shared = two.fit(babies)
        for alone, other in zip(one.fit(babies), shared, strict=True):
            assert all(np.array_equal(alone[key], other[key]) for key in alone)


def two_modes(n: int, dim: int, distance: float, seed: int = 0) -> Baseline:
    rng = np.random.default_rng(seed)
    calm = rng.random(n) < 0.5
    vectors = rng.standard_normal((n, dim))
    vectors[:, 0] += np.where(calm, -distance, distance)
    return Baseline("two moods", vectors, np.arange(n))


def test_mixture_is_scikit_learns_where_clips_are_many():
    from sklearn.mixture import GaussianMixture

    baby = two_modes(300, 6, 4.0)
    fitted = MixtureModel(cases.mixture(pca_below=100), seed=5).fit([baby])[0]
    assert len(fitted["weights"]) == 2
    reference = GaussianMixture(2, covariance_type="diag", reg_covar=1e-5, random_state=5)
    reference.fit(baby.vectors)
    model = MixtureModel(cases.mixture(pca_below=100), seed=5)
    new = two_modes(20, 6, 4.0, seed=1).vectors
    np.testing.assert_allclose(model.score([fitted], [new])[0], -reference.score_samples(new))


def test_mixture_counts_the_moods_and_not_more():
    for distance, wanted in ((0.0, 1), (8.0, 2)):
        babies = [two_modes(80, 3, distance, seed) for seed in range(5)]
        fitted = MixtureModel(cases.mixture(pca_below=10), seed=1).fit(babies)
        assert [len(model["weights"]) for model in fitted] == [wanted] * 5


def test_mixture_on_few_clips_still_sees_what_leaves_its_axes():
    # With every axis kept the score is that of one full Gaussian, by scipy.
    from scipy.stats import multivariate_normal

    rng = np.random.default_rng(0)
    vectors = rng.standard_normal((40, 5)) * [3, 2, 1, 0.3, 0.3]
    model = MixtureModel(cases.mixture(components=1, clips_per_axis=8, least_variance=1e-9), seed=1)
    fitted = model.fit([Baseline("few", vectors, np.arange(40))])[0]
    assert fitted["axes"].shape == (4, 5)
    axes = np.vstack([fitted["axes"], np.linalg.svd(fitted["axes"])[2][-1]])
    variances = np.append(fitted["variances"][0], fitted["off"])
    reference = multivariate_normal(vectors.mean(axis=0), axes.T @ np.diag(variances) @ axes)
    new = rng.standard_normal((7, 5))
    np.testing.assert_allclose(model.score([fitted], [new])[0], -reference.logpdf(new))
    off = vectors.mean(axis=0) + 3 * axes[-1]
    assert model.score([fitted], [off[None]])[0] > model.score([fitted], [vectors])[0].max()


@pytest.mark.parametrize("covariance", ["full", "diag"])
def test_mixture_of_the_slides_is_scikit_learns_with_its_bic_on_held_out_clips(covariance):
    from sklearn.mixture import GaussianMixture

    baby, new = two_modes(120, 4, 6.0), two_modes(9, 4, 6.0, seed=1).vectors
    config = cases.mixture_iclas(covariance=covariance, least_variance=1e-5)
    fitted = MixtureIclas(config, seed=5).fit([baby])[0]
    out = held_out(baby.sessions, 0.25)

    def reference(count, vectors):
        mixture = GaussianMixture(count, covariance_type=covariance, reg_covar=1e-5, random_state=5)
        return mixture.fit(vectors)

    bics = [reference(k, baby.vectors[~out]).bic(baby.vectors[out]) for k in (2, 3, 4, 5)]
    count = 2 + int(np.argmin(bics))
    assert len(fitted["weights"]) == count
    ours = MixtureIclas(config, seed=5).score([fitted], [new])[0]
    np.testing.assert_allclose(ours, -reference(count, baby.vectors).score_samples(new))
    mixture = reference(count, baby.vectors)
    assert n_parameters(fitted) == mixture._n_parameters()


def test_mixture_of_the_slides_has_at_least_two_modes_and_no_more_than_clips():
    model = MixtureIclas(cases.mixture_iclas(), seed=1)
    one, two, many = cases.infants(1, 1)[0], cases.infants(1, 2)[0], cases.infants(1, 12)[0]
    counts = [len(fitted["weights"]) for fitted in model.fit([one, two, many])]
    assert counts[:2] == [1, 2] and 2 <= counts[2] <= 5
    for wrong in ({"components": []}, {"components": [0, 2]}, {"covariance": "tied"},
                  {"held_out": 0.0}, {"least_variance": 0.0}):  # fmt: skip
        with pytest.raises(ConfigError, match="mixture_iclas"):
            cases.mixture_iclas(**wrong)


def test_mixture_of_the_slides_on_few_clips_finds_every_new_clip_outside():
    # 12 clips span 11 of 192 directions: in the others only the added variance is left.
    babies = cases.infants(4, 24, spread=0.8)
    known, new = [b.only(np.arange(12)) for b in babies], [b.vectors[12:] for b in babies]
    model = MixtureIclas(cases.mixture_iclas(), seed=1)
    fitted = model.fit(known)
    own = np.concatenate(model.score(fitted, [baby.vectors for baby in known]))
    later = np.concatenate(model.score(fitted, new))
    assert later.min() > own.max()


def test_s_norm_is_that_of_the_formula():
    cohort = cases.infants(6, 3, seed=9, dim=8, prefix="cohort")
    baby, new = cases.infants(1, 5, dim=8)[0], cases.infants(1, 4, seed=2, dim=8)[0].vectors
    model = SNormalised(Cosine(), cohort, CohortConfig(top_k=3, infants=6, clips=3))
    scores = model.score(model.fit([baby]), [new])[0]
    plain = Cosine()
    fitted = plain.fit([baby])
    clips = np.concatenate([one.vectors for one in cohort])
    against_clips = sorted(plain.score(fitted, [clips])[0])[:3]
    for clip, score in zip(new, scores, strict=True):
        own = plain.score(fitted, [clip[None]])[0][0]
        each = [plain.score([one], [clip[None]])[0][0] for one in plain.fit(cohort)]
        nearest = sorted(each)[:3]
        z = (own - np.mean(against_clips)) / np.std(against_clips)
        t = (own - np.mean(nearest)) / np.std(nearest)
        assert score == pytest.approx((z + t) / 2)


def test_a_cohort_that_is_too_large_is_drawn_from_all_corpora():
    corpora = [cases.infants(10, 3, dim=8, prefix=name) for name in ("cryceleb", "donateacry")]
    cohort = [one for own in corpora for one in own]
    config = CohortConfig(top_k=3, infants=8, clips=3)
    members = [
        model["cohort_own"][0] >= 0 for model in SNormalised(Cosine(), cohort, config).fit(cohort)
    ]
    assert sum(members) == 8 and 0 < sum(members[:10]) < 8
    again = SNormalised(Cosine(), cohort[::-1], config).fit(cohort)
    assert members == [model["cohort_own"][0] >= 0 for model in again]


def test_a_small_cohort_counts_whole():
    cohort, new = cases.infants(6, 3, seed=9, dim=8, prefix="cohort"), cases.infants(2, 3, dim=8)
    scores = []
    for top_k in (5, 20):
        model = SNormalised(Cosine(), cohort, CohortConfig(top_k=top_k, infants=6, clips=3))
        scores.append(model.score(model.fit(new), [baby.vectors for baby in new]))
    np.testing.assert_array_equal(*scores)
    with pytest.raises(ConfigError, match=r"cohort.top_k is 20 with 2 infants .* at least 2 and 3"):
        SNormalised(Cosine(), cohort[:2], CohortConfig(top_k=20, infants=6, clips=3))


def test_an_infant_of_the_cohort_is_not_compared_with_itself():
    cohort = cases.infants(6, 3, seed=9, dim=8, prefix="cohort")
    config = CohortConfig(top_k=3, infants=6, clips=3)
    inside = SNormalised(Cosine(), cohort, config)
    outside = SNormalised(Cosine(), [one for one in cohort if one is not cohort[2]], config)
    new = [cases.infants(1, 4, seed=2, dim=8)[0].vectors]
    ours, wanted = (model.score(model.fit([cohort[2]]), new)[0] for model in (inside, outside))
    np.testing.assert_allclose(ours, wanted)
    assert inside.digest != outside.digest
    assert inside.digest == SNormalised(Cosine(), cohort[::-1], config).digest


def test_wrong_settings_and_inputs_are_named():
    config = cases.models_config()
    with pytest.raises(ConfigError, match="no model 'lstm'; there are autoencoder"):
        models.build("lstm", config, 1)
    with pytest.raises(ConfigError, match="top_k is 5 with 2 infants"):
        models.build("cosine", cases.models_config(5), 1, cases.infants(2, 4))
    with pytest.raises(ConfigError, match="top_k 1"):
        CohortConfig(top_k=1, infants=5, clips=5)
    with pytest.raises(ConfigError, match="one_class_svm.nu is 2"):
        OneClassSvmConfig(nu=2, jobs=1)
    with pytest.raises(ConfigError, match="mixture"):
        cases.mixture(held_out=1.0)
    with pytest.raises(ModelError, match="infant a has no baseline clip"):
        Baseline("a", np.zeros((0, 3)), np.zeros(0))
    with pytest.raises(ModelError, match="infant a: .* do not belong together"):
        Baseline("a", np.zeros((2, 3)), np.zeros(1))
    bad = np.ones((3, 2))
    bad[1, 0] = np.nan
    with pytest.raises(ModelError, match="infant a: the embedding of clip 1"):
        Baseline("a", bad, np.zeros(3))


def test_held_out_are_whole_late_sessions():
    def out(sessions, share=0.25):
        return np.flatnonzero(held_out(np.array(sessions), share)).tolist()

    assert out(list("aabbccdd")) == [6, 7]
    assert out(list("aabbccd")) == [4, 5, 6]
    assert out(list("ddaab")) == [4]  # with a it would be more than half
    assert out(list("abbbbb")) == [0]  # the last session is too long
    assert out(list("aaaaaaaa")) == [6, 7]
    assert out(list("aaa")) == [] and out(list("a")) == []
    for seed in range(50):
        sessions = np.random.default_rng(seed).integers(5, size=12)
        mask = held_out(sessions, 0.3)
        assert 0 < mask.sum() <= 6
        assert not set(sessions[mask]) & set(sessions[~mask])


def test_batches_hold_every_infant_once():
    keys = [(8, 1), (8, 2), (8, 1), (8, 1)]
    groups = [rows.tolist() for rows in group_alike(keys, 2)]
    assert groups == [[0, 2], [3], [1]]
    assert [pad_rows(n) for n in (0, 1, 8, 9, 12, 13, 17, 25, 33)] == [
        *(8, 8, 8, 12, 12, 16, 24, 32, 48)
    ]
    assert [(s.start, s.stop) for s in split_portions([3, 3, 9, 1, 1], 6)] == [
        (0, 2),
        (2, 3),
        (3, 5),
    ]
    assert list(split_portions([], 6)) == []
    together = stack_padded([np.ones((2, 3)), np.ones((1, 3))], 4)
    assert together.sum(axis=(1, 2)).tolist() == [6, 3]
