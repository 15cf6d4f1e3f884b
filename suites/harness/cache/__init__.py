"""What is kept between runs, and by which key is it found again?"""

from suites.harness.cache.shards import Shards, default_folder

__all__ = ["Shards", "default_folder"]
