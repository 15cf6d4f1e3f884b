"""Endpoints of `suites/test_external.py`: what does the subject lose on films of another hospital, and why?"""
