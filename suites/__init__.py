"""The limitations page as executable tests; the machinery behind it is `suites.harness`."""

from suites.harness.process import settle

settle()
