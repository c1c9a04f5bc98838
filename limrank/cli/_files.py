"""From what a user types to a noun, and from a result to its place on disk, with its manifest."""

from __future__ import annotations

import json
import time
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from limrank.errors import BadFile, LimrankError, Mismatch
from limrank.files import check_place, sha256
from limrank.manifest import Manifest, path_of

if TYPE_CHECKING:
    from limrank.datasets import Dataset
    from limrank.run import Run


def dataset_input(dataset: Dataset) -> dict[str, Any]:
    """What identifies a dataset in a manifest."""
    return {"name": dataset.name, "revision": dataset.revision}


def index_folder(name: str) -> Path:
    """The folder of an index: a path, or `dataset/name` below indexes/."""
    for folder in (Path(name), Path("indexes") / name):
        if folder.is_dir():
            return folder
    raise BadFile(f"{name}: no such index, here or in indexes/; make it with: limrank index DATASET lucene|faiss")


def run_place(dataset: str, name: str, out: Path | None) -> Path:
    """`--out`, or the run's natural place: runs/<dataset>/<name>.trec."""
    return out or Path("runs") / dataset / f"{name}.trec"


def options_of(words: Iterable[str]) -> dict[str, str]:
    """`key=value` words as a mapping.

    Raises:
        LimrankError: A word is not key=value.
    """
    options = {}
    for word in words:
        key, equals, value = word.partition("=")
        if not equals or not key:
            raise LimrankError(f"cannot read {word!r}: options are written key=value")
        options[key.replace("-", "_")] = value
    return options


def finished(out: Path, *, command: str, parameters: Mapping[str, Any], inputs: Mapping[str, Any], force: bool) -> bool:
    """Whether `out` is there already and was made exactly so; then there is nothing to do.

    Raises:
        Mismatch: A file is there that was made otherwise; it is not overwritten without --force.
    """
    check_writable(out)
    if force or not out.exists():
        return False
    advice = f"choose another --out, or overwrite {out} with --force"
    if not path_of(out).exists():
        raise Mismatch(f"{out}: exists and has no manifest; {advice}")
    manifest = Manifest.read(out)
    if manifest.output.get("sha256") != sha256(out):
        raise Mismatch(f"{out}: was changed after it was made; {advice}")
    then = {"command": manifest.command, **manifest.parameters, **_content(manifest.inputs)}
    now = {"command": command, **_plain(parameters), **_content(_plain(inputs))}
    for key in sorted(then.keys() | now.keys()):
        if told := _different(then.get(key), now.get(key), key):
            raise Mismatch(f"{out}: exists, made with {told}; {advice}")
    return True


def _different(then: Any, now: Any, key: str) -> str:
    """How an input or a parameter differs from what it was, in words; empty where it does not."""
    if not isinstance(now, Mapping) or "made" not in now or not isinstance(then, Mapping):
        return "" if then == now else f"{key} {_short(then)}, not {_short(now)}"
    # A folder that is built again from the same in the same way is the same, whatever its bytes are.
    made, making = then.get("made"), now["made"]
    if then.get("sha256") == now["sha256"] or made == making:
        return ""
    if made is None:
        what = f"the {making.get('kind')} {key} of {making.get('dataset')}"
        return f"another {key} than {what} that is there now, or with that before it was built again"
    told = next(name for name in making | made if making.get(name) != made.get(name))
    return f"another {key}: {told} {_short(made.get(told))}, not {_short(making.get(told))}"


def save_run(
    run: Run,
    out: Path,
    *,
    command: str,
    parameters: Mapping[str, Any],
    inputs: Mapping[str, Any],
    started: float,
    counts: Mapping[str, Any] | None = None,
) -> Manifest:
    """Write the run, then its manifest; `started` is time.monotonic() of the beginning."""
    run.write(out)
    manifest = Manifest(
        command=command,
        parameters=_plain(parameters),
        inputs=_plain(inputs),
        counts={"queries": len(run), "documents": sum(len(run.doc_ids(query_id)) for query_id in run)}
        | dict(counts or {}),
        seconds=time.monotonic() - started,
    )
    manifest.write(out)
    return manifest


def _plain(value: Mapping[str, Any]) -> dict[str, Any]:
    """The value as JSON would give it back, so that then and now can be compared."""
    plain: dict[str, Any] = json.loads(json.dumps(value, default=str))
    return plain


def check_writable(out: Path) -> None:
    """Find out before the work that a result cannot be put there.

    Raises:
        BadFile: It is a folder, or its own folder cannot be made or written to.
    """
    if out.is_dir():
        raise BadFile(f"{out}: is a folder; --out names a file")
    check_place(out)


def _content(value: Any) -> Any:
    """The value without paths beside a digest: the same file is the same input wherever it lies."""
    if isinstance(value, Mapping):
        return {key: _content(item) for key, item in value.items() if key != "path" or "sha256" not in value}
    return [_content(item) for item in value] if isinstance(value, list) else value


def _short(value: object) -> str:
    text = json.dumps(value, ensure_ascii=False)
    return text if len(text) <= 80 else text[:77] + "..."
