"""Endpoints of `suites/test_adversarial.py`: how little may an adversary change to turn a call?"""
