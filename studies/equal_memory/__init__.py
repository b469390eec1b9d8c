"""Who is most accurate at the same peak memory of a whole step?"""
