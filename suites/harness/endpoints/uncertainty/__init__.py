"""Endpoints of `suites/test_uncertainty.py`: does the subject know when it is wrong?"""
