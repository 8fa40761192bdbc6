"""A detector that knows crying, not corpora: BlazeNet on level-free pictures of changed sounds.

Its face: `detector.RobustDetector`, `recipe.RecipeConfig`, and the stages `robust_sounds`
and `train_robust`. A batch is drawn (`draws`), with made sounds (`negatives`), changed
(`augmentation`) and taught (`teaching`) in `batches`; a second hears its neighbourhood by
`context`.
"""
