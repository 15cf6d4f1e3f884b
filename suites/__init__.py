"""Does the limitations page hold? Its sentences as executable tests; the machinery behind it is `suites.harness`.

Every pytest of the environment loads `suites.plugin`, so nothing is set or imported here. PYTEST_DONT_REWRITE, because
`suites.command_line` is imported before pytest is.
"""
