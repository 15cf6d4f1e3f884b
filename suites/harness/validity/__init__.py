"""Does synthetic stress predict what subjects lose at other hospitals? Measured over subjects of finished reports."""
