"""Endpoints of `suites/test_explanations.py`: where does the subject look, and may the map be believed?"""
