"""`slipway run`: everything in one process."""
