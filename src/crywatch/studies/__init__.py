"""Studies beside the pipeline: what a recipe's parts are worth, and a generated year of infants.

Their stages stand in studies/dvc.yaml, their parameters in studies/params.yaml; they read what the
pipeline made, and nothing of the pipeline reads them.
"""
