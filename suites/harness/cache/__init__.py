"""What is kept between runs, and by which key is it found again?"""

from suites.harness.cache.block_shards import BlockShards, FilmKey, RowKey, Unfinished
from suites.harness.cache.shards import FLUSH_SECONDS, Keeping, Key, Row, Shards, default_folder

__all__ = [
    "FLUSH_SECONDS",
    "BlockShards",
    "FilmKey",
    "Keeping",
    "Key",
    "Row",
    "RowKey",
    "Shards",
    "Unfinished",
    "default_folder",
]
