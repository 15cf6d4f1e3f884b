"""Endpoints of `suites/test_dataset_scope.py`: what do the films allow to be said, whoever is tested on them?"""
