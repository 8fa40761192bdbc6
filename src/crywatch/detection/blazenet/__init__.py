"""BlazeNet: the 89,680-parameter network of the cry detection paper, its front end and its data.

Its face: `detector.BlazeNetDetector`, `network.BlazeNet`, `frontend.FrontEndConfig` with its
`pictures`, and the stages `pictures` and `train_blazenet`.
"""
