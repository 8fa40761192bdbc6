"""Gaussian mixture with diagonal covariances, by scikit-learn; score = -log p.

192 dimensions are too many for few clips. Fewer clips than ``pca_below`` are turned to their own
main axes first, one for every ``clips_per_axis`` clips and at most ``pca_axes``. The mixture lives
on those axes, and what is off them counts as one Gaussian of equal variance everywhere
(probabilistic PCA, Tipping and Bishop, 1999): a clip that leaves the axes is far, not invisible.

The number of components is chosen as the slides say, by the criterion on held-out clips. It charges
for parameters that held-out clips have charged for already, so it prefers few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from crywatch.core.errors import ConfigError
from crywatch.infants.models.contract import Arrays, Baseline, InfantModel, held_out


@dataclass
class MixtureConfig:
    """Section ``mixture``."""

    components: int  # at most; the slides: 2 to 5, here 1 to 5
    clips_per_component: int  # at least, among the clips that are fitted on
    held_out: float  # share of the clips that the number of components is chosen on
    pca_below: int  # clips; from there on all dimensions are used
    pca_axes: int  # at most
    clips_per_axis: int  # at least
    least_variance: float  # added to every variance
    jobs: int  # processes; 1: in this one

    def __post_init__(self) -> None:
        least = (self.components, self.clips_per_component, self.pca_axes, self.clips_per_axis)
        if min(least) < 1 or not 0 < self.held_out < 1 or self.least_variance <= 0:
            raise ConfigError(
                "mixture: components, clips_per_component, pca_axes and clips_per_axis must be at "
                "least 1, held_out between 0 and 1, least_variance above 0"
            )


class MixtureModel(InfantModel):
    """K by the Bayesian information criterion on held-out clips, then fitted on all."""

    name = "mixture"

    def __init__(self, config: MixtureConfig, seed: int):
        self.config, self.seed = config, seed

    def fit(self, baselines: Sequence[Baseline]) -> list[Arrays]:
        """``weights`` [K], ``means`` and ``variances`` [K, axes], ``centre``, ``axes``, ``off``.

        ``off`` [1] is the variance off the axes, 0 where there are as many axes as dimensions.
        """
        from joblib import Parallel, delayed

        each = (delayed(_fit)(baseline, self.config, self.seed) for baseline in baselines)
        return Parallel(n_jobs=self.config.jobs)(each)

    def score(self, models: Sequence[Arrays], clips: Sequence[np.ndarray]) -> list[np.ndarray]:
        """-log p, from the arrays, without scikit-learn."""
        return [-_log_p(model, part) for model, part in zip(models, clips, strict=True)]


def _fit(baseline: Baseline, config: MixtureConfig, seed: int) -> Arrays:
    vectors = baseline.vectors.astype(float)
    out = held_out(baseline.sessions, config.held_out)
    count = 1
    if out.any():
        kept, check = vectors[~out], vectors[out]
        most = max(1, min(config.components, len(kept) // config.clips_per_component))
        if most > 1:
            space = _space(kept, config)
            tried = [space | _components(space, kept, k, config, seed) for k in range(1, most + 1)]
            count = 1 + int(np.argmin([_bic(model, check) for model in tried]))
    space = _space(vectors, config)
    return space | _components(space, vectors, count, config, seed)


def _space(vectors: np.ndarray, config: MixtureConfig) -> Arrays:
    """The axes that the mixture lives on."""
    n, dim = vectors.shape
    centre = vectors.mean(axis=0)
    if n >= config.pca_below:
        # No rotation: diagonal covariances are those of the dimensions themselves.
        return {"centre": centre, "axes": np.zeros((0, dim)), "off": np.zeros(1)}
    axes = max(1, min(config.pca_axes, n // config.clips_per_axis, dim - 1))
    _, scale, right = np.linalg.svd(vectors - centre, full_matrices=False)
    left_over = np.square(scale[axes:]).sum() / (max(1, n - 1) * (dim - axes))
    # The sign of a singular vector is free; its largest entry is made positive.
    right = right[:axes]
    largest = np.abs(right).argmax(axis=1)
    right = right * np.where(right[np.arange(len(right)), largest] < 0, -1, 1)[:, None]
    return {"centre": centre, "axes": right, "off": np.array([left_over + config.least_variance])}


def _project(space: Arrays, vectors: np.ndarray) -> np.ndarray:
    centred = vectors.astype(float) - space["centre"]
    return centred @ space["axes"].T if len(space["axes"]) else centred


def _components(
    space: Arrays, vectors: np.ndarray, count: int, config: MixtureConfig, seed: int
) -> Arrays:
    points = _project(space, vectors)
    if count == 1:
        # What expectation-maximisation converges to at once, also for a single clip.
        return {
            "weights": np.ones(1),
            "means": points.mean(axis=0)[None],
            "variances": points.var(axis=0)[None] + config.least_variance,
        }
    import warnings

    from sklearn.exceptions import ConvergenceWarning
    from sklearn.mixture import GaussianMixture

    mixture = GaussianMixture(
        count, covariance_type="diag", reg_covar=config.least_variance, random_state=seed
    )
    with warnings.catch_warnings():
        # Equal clips give fewer clusters than asked for; the criterion decides on the result.
        warnings.simplefilter("ignore", ConvergenceWarning)
        mixture.fit(points)
    return {
        "weights": mixture.weights_,
        "means": mixture.means_,
        "variances": mixture.covariances_,
    }


def _bic(model: Arrays, vectors: np.ndarray) -> float:
    """-2 log p + parameters log n of the held-out clips; lower is better."""
    parameters = len(model["weights"]) - 1 + model["means"].size + model["variances"].size
    return -2 * _log_p(model, vectors).sum() + parameters * np.log(len(vectors))


def _log_p(model: Arrays, vectors: np.ndarray) -> np.ndarray:
    from scipy.special import logsumexp

    points = _project(model, vectors)
    variances = model["variances"]
    # [clips, K]: a component at a time would be slower, [clips, K, axes] is small enough.
    squared = np.square(points[:, None] - model["means"]) / variances
    each = -0.5 * (squared + np.log(2 * np.pi * variances)).sum(axis=2)
    on_axes = logsumexp(each + np.log(model["weights"]), axis=1)
    off, axes = float(model["off"][0]), model["axes"]
    if not len(axes):
        return on_axes
    centred = vectors.astype(float) - model["centre"]
    rest = np.maximum(np.square(centred).sum(axis=1) - np.square(points).sum(axis=1), 0)
    free = centred.shape[1] - len(axes)
    return on_axes - 0.5 * (rest / off + free * np.log(2 * np.pi * off))
