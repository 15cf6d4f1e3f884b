"""Whether a probability can be believed: calibration error, recalibration, conformal, selective prediction, OOD scores."""
