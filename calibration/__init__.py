"""Can a probability be believed? Its error, its repair, conformal sets, selective prediction, uncertainty scores."""
