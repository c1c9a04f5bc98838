"""limrank/llm/_calls.py"""

import json
from pathlib import Path

import pytest

from limrank.errors import BadFile, LimrankError
from limrank.llm._calls import Calls, Entry, digest, key_of
from limrank.records import Message, Part, Request, Response

KEYS = [digest(i) for i in range(10)]


def written(path: Path) -> bytes:
    """Deliveries of 1, 3 and 2 answers."""
    calls = Calls(path)
    for numbers in ([0], [1, 2, 3], [4, 5]):
        calls.append(Entry(KEYS[i], {"number": i, "value": i / 3}) for i in numbers)
    calls.close()
    return path.read_bytes()


def test_answers_come_back_as_they_were(tmp_path: Path) -> None:
    written(tmp_path / "x")
    calls = Calls(tmp_path / "x")
    assert len(calls) == 6
    assert calls.get(KEYS[4])["value"] == 4 / 3
    assert calls.get(KEYS[9]) is None


def test_an_answer_can_be_read_as_soon_as_it_is_appended(tmp_path: Path) -> None:
    calls = Calls(tmp_path / "x")
    for i in range(3):
        calls.append([Entry(KEYS[i], {"number": i}), Entry(KEYS[i + 3], {"number": i + 3})])
        assert calls.get(KEYS[i + 3])["number"] == i + 3
        assert calls.get(KEYS[0])["number"] == 0


def test_after_a_kill_at_any_byte_whole_deliveries_remain_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "x"
    content = written(path)
    ends = [i + 1 for i, line in enumerate(content.splitlines()) if json.loads(line)["more"] == 0]
    lines = content.splitlines(keepends=True)
    boundaries = [0] + [len(b"".join(lines[:end])) for end in ends]
    sizes = [0, *ends]
    for cut in range(len(content) + 1):
        path.write_bytes(content[:cut])
        calls = Calls(path)
        whole = max(i for i, boundary in enumerate(boundaries) if boundary <= cut)
        assert len(calls) == sizes[whole]
        assert path.read_bytes() == content[: boundaries[whole]]
        calls.append([Entry(KEYS[9], {"number": 9})])
        calls.close()
        again = Calls(path)
        assert len(again) == sizes[whole] + 1 and again.get(KEYS[9])["number"] == 9
        again.close()


def test_an_unusable_answer_is_kept_on_file_and_not_remembered(tmp_path: Path) -> None:
    calls = Calls(tmp_path / "x")
    calls.append([Entry(KEYS[0], {"status": "failed"}), Entry(KEYS[1], {"status": "forced"})])
    assert calls.get(KEYS[0]) is None and calls.get(KEYS[1]) is not None
    calls.close()
    calls = Calls(tmp_path / "x")
    assert calls.get(KEYS[0]) is None and calls.get(KEYS[1]) is not None
    calls.append([Entry(KEYS[0], {"status": "ok"})])
    assert calls.get(KEYS[0]) is not None


def test_garbage_before_the_end_is_refused_with_its_line(tmp_path: Path) -> None:
    path = tmp_path / "x"
    lines = written(path).splitlines(keepends=True)
    path.write_bytes(lines[0] + b"{]\n" + b"".join(lines[1:]))
    with pytest.raises(BadFile, match="x:2: not an answer"):
        Calls(path)


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    calls = Calls(tmp_path / "x")
    with pytest.raises(LimrankError, match="in use by another rerank"):
        Calls(tmp_path / "x")
    calls.close()
    Calls(tmp_path / "x")


def test_the_key_holds_everything_that_decides_an_answer_and_no_label() -> None:
    request = Request((Message("", (Part("a", True), Part("b", False))),), choices=(Part(" true", True),))
    key = key_of("m", request)
    assert key == key_of("m", request._replace(query_id="q", doc_ids=("d",)))
    changed = [
        request._replace(messages=(Message("", (Part("ab", True),)),)),
        request._replace(messages=(Message("", (Part("a", True), Part("b", True))),)),
        request._replace(messages=(Message("user", request.messages[0].parts),)),
        request._replace(choices=(Part(" true", False),)),
        request._replace(max_tokens=1),
        request._replace(stop=("x",)),
        request._replace(temperature=1.0),
        request._replace(seed=1),
        request._replace(cut=(1,)),
        request._replace(shared=1),
        request._replace(reserve=1),
        request._replace(schema="{}"),
        request._replace(after=Response(token_ids=(1,))),
        request._replace(after=Response(token_ids=(2,))),
        request._replace(after=Response("a")),
        request._replace(after=Response("a", truncated_tokens=1)),
        request._replace(after=Response("a"), bridge="x"),
    ]
    varied = {name for other in changed for name in Request._fields if getattr(other, name) != getattr(request, name)}
    assert varied == {*Request._fields} - {"query_id", "doc_ids"}
    keys = [key, key_of("other", request)] + [key_of("m", other) for other in changed]
    assert len(set(keys)) == len(keys)
