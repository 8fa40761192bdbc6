"""BlazeNet: the 89,680-parameter network of the cry detection paper, its front end and its data."""
