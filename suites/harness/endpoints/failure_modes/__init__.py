"""Endpoints of `suites/test_failure_modes.py`: what do changed and unforeseen films do to the subject?"""
