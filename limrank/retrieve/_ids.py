"""Document ids by number, on disk: only those that are asked for are ever decoded.

Two files: all ids in UTF-8 behind one another, and where each begins. Knows nothing of what the numbers count.
"""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limrank.errors import BadFile

if TYPE_CHECKING:
    import numpy as np

    Numbers = np.ndarray[Any, np.dtype[np.int64]]


def write_ids(folder: Path, doc_ids: Iterable[bytes]) -> int:
    """Write `doc_ids.utf8` and `doc_ids.npy` and return how many there are."""
    import numpy as np

    ends = [0]
    with open(folder / "doc_ids.utf8", "wb") as file:
        for doc_id in doc_ids:
            ends.append(ends[-1] + file.write(doc_id))
    np.save(folder / "doc_ids.npy", np.array(ends, dtype=np.int64))
    return len(ends) - 1


class Ids:
    """The ids of a folder.

    Raises:
        BadFile: The files are missing or do not belong together.
    """

    def __init__(self, folder: Path) -> None:
        import numpy as np

        try:
            self._ends = np.load(folder / "doc_ids.npy", mmap_mode="r")
            self._text = np.memmap(folder / "doc_ids.utf8", dtype=np.uint8, mode="r")
        except (OSError, ValueError) as error:
            raise BadFile(f"{folder}: its document ids cannot be read ({error}); build the index again") from error
        if self._ends[-1] != len(self._text):
            raise BadFile(f"{folder / 'doc_ids.utf8'}: does not belong to doc_ids.npy; build the index again")

    def __len__(self) -> int:
        return len(self._ends) - 1

    def of(self, numbers: Numbers) -> list[str]:
        """The ids with these numbers, in the order given."""
        spans = zip(self._ends[numbers].tolist(), self._ends[numbers + 1].tolist())
        text = self._text
        return [text[start:end].tobytes().decode() for start, end in spans]
