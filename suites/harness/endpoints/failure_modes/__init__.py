"""Endpoints of `suites/test_failure_modes.py`: what do changed films, and films it was never meant for, do to the subject?"""
