"""How well does a subject do on the films as they came?"""
