"""On which films?"""
