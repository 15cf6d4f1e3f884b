"""Whether a probability can be believed: its error, its repair, conformal sets, abstention, scores of doubt."""
