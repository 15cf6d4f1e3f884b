"""The limitations page as executable tests; the machinery behind it is `suites.harness`."""
