"""The machinery of the suites: subject, cohort, prediction table, statistics, claims, report."""
