"""Who is tested?"""
