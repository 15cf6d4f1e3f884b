"""What did the subject predict, film by film and condition by condition?"""
