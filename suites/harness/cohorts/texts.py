"""Which of many texts are among others, and where? As Arrow holds them, end to end: pandas makes an object of each."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc


def texts_of(column: pd.Series) -> pa.Array:
    """Return (N,) what `astype(str)` makes of a column."""
    if isinstance(column.dtype, pd.CategoricalDtype):
        return texts_of(pd.Series(column.cat.categories)).take(pa.array(column.cat.codes.to_numpy()))
    found = pa.array(column.astype("str"), pa.large_string())
    return found.combine_chunks() if isinstance(found, pa.ChunkedArray) else found


def among(texts: pa.Array, known: pa.Array) -> npt.NDArray[np.bool_]:
    """Return (N,) whether each text is one of those known."""
    return np.asarray(pc.is_in(texts, value_set=known).to_numpy(zero_copy_only=False), dtype=bool)


def places(texts: pa.Array, known: pa.Array) -> npt.NDArray[np.int64]:
    """Return (N,) the first place of each text among those known, -1 where it is none of them."""
    found = pc.index_in(texts, value_set=known)
    return np.asarray(pc.fill_null(found, -1).to_numpy(zero_copy_only=False), dtype=np.int64)
