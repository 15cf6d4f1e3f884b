"""What does the page print, held against its own confusion matrices? The published numbers, audited.

No film and no weights are needed: these are counts that anybody can repeat. They are the first thing to read, because
everything else on the page is as certain as these intervals.
"""

import pytest


@pytest.mark.claims("published.")
def test_printed_numbers_against_their_own_table(claim, subject, judge):
    """Intervals that are too narrow, gaps that do not follow, recalls that a headline accuracy hides."""
    judge(claim, subject)
