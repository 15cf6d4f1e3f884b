"""How are numbers and films shown to people?"""
