"""Measures without models: numbers from scores, labels and groups.

`curves` has the metrics of a binary detector (`binary_metrics`, `roc`, `precision_recall`) and
`events` those of strongly labelled recordings (`event_metrics`, by sed_scores_eval). `bootstrap`
draws groups with replacement for any statistic; `intervals` (`group_bootstrap`, Poisson counts) and
`paired` (`paired_differences`, McNemar, Holm) are what stages and comparisons call.
"""
