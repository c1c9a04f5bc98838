"""limrank/prompt.py"""

import hashlib
from pathlib import Path

import pytest

from limrank import prompt
from limrank.errors import BadFile, Unknown
from limrank.records import Document, Part, Query

QUERY = Query("q", "why {passage}?", "Be strict.")
DOCUMENT = Document("d", "the text {query}", "A title")


def written(tmp_path: Path, text: str) -> str:
    (tmp_path / "my.toml").write_text(text)
    return str(tmp_path / "my.toml")


@pytest.mark.parametrize("name", prompt.names())
def test_every_shipped_prompt_loads_and_says_where_its_words_come_from(name: str) -> None:
    loaded = prompt.load(name, needs=())
    assert loaded.name == name and loaded.source and len(loaded.sha256) == 64


@pytest.mark.parametrize("name", prompt.names())
def test_only_the_files_own_words_are_trusted(name: str) -> None:
    loaded = prompt.load(name, needs=())
    if "passage" not in loaded.placeholders:
        pytest.skip("not a prompt for one document")
    filled = loaded.fill(Query("q", "SECRET", "SECRET"), Document("d", "SECRET", "SECRET"))
    parts = [part for message in filled.messages for part in message.parts]
    assert any(not part.trusted for part in parts)
    assert all("SECRET" not in part.text for part in parts if part.trusted)


def test_the_prompt_that_rank1_was_trained_with_is_sent_byte_for_byte() -> None:
    """Upstream's template, filled by upstream's rule (query and passage put in as they are)."""
    filled = prompt.load("rank1").fill(Query("q", "what is IR?"), Document("d", "IR is ..."))
    [message] = filled.messages
    assert message.role == "" and "".join(part.text for part in message.parts) == (
        "Determine if the following passage is relevant to the query. Answer only with 'true' or 'false'.\n"
        "Query: what is IR?\nPassage: IR is ...\n<think>"
    )
    assert prompt.load("rank1").choices == (" true", " false")


def test_values_are_put_in_once_and_braces_in_them_mean_nothing(tmp_path: Path) -> None:
    path = written(tmp_path, 'format = "completion"\ntext = "Q: {query}; P: {passage}!"')
    filled = prompt.load(path).fill(QUERY, DOCUMENT)
    assert filled.messages[0].parts == (
        Part("Q: ", True),
        Part("why {passage}? Be strict.", False),
        Part("; P: ", True),
        Part("A title the text {query}", False),
        Part("!", True),
    )
    # Query and instruction come before the first word of the document; the passage may be cut.
    assert filled.shared == 3 and filled.cut == (3,)


def test_instruction_and_title_go_where_the_template_wants_them(tmp_path: Path) -> None:
    path = written(tmp_path, 'format = "completion"\ntext = "{instruction}|{query}|{title}|{passage}"')
    filled = prompt.load(path).fill(QUERY, DOCUMENT)
    texts = [part.text for part in filled.messages[0].parts]
    assert texts == ["Be strict.", "|", "why {passage}?", "|", "A title", "|", "the text {query}"]
    # The title is the document's as well, so what is shared ends before it.
    assert filled.shared == 4 and filled.cut == (6,)


def test_parts_are_counted_over_all_messages_of_a_chat(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        'format = "chat"\n[[messages]]\nrole = "system"\ntext = "Judge."\n'
        '[[messages]]\nrole = "user"\ntext = "{query}\\n{passage}"\n',
    )
    filled = prompt.load(path).fill(QUERY, DOCUMENT)
    assert [message.role for message in filled.messages] == ["system", "user"]
    assert filled.shared == 3 and filled.cut == (3,)


def test_the_target_is_untrusted_and_the_choices_are_trusted() -> None:
    target = prompt.load("upr").fill_target(QUERY, DOCUMENT)
    assert target == Part(" why {passage}? Be strict.", trusted=False)
    assert prompt.load("true-false").choice_parts == (Part(" true", True), Part(" false", True))


def test_the_digest_is_the_files(tmp_path: Path) -> None:
    path = written(tmp_path, 'format = "completion"\ntext = "{query} {passage}"\n')
    assert prompt.load(path).sha256 == hashlib.sha256(Path(path).read_bytes()).hexdigest()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("format = ", r"my\.toml: not TOML"),
        ('format = "completion"', "needs format"),
        ('format = "chat"\nmessages = [{role = "user"}]', "needs role and text"),
        ('format = "completion"\ntext = "{query} {passage}"\nchoises = []', "unknown key 'choises'"),
        ('format = "completion"\ntext = "{query} {passage} {score}"', r"nothing fills \{score\}"),
        ('format = "completion"\ntext = "{query}"', r"\{passage\} is missing; the model would not see the passage"),
    ],
)
def test_a_file_that_is_no_prompt_is_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises(BadFile, match=message):
        prompt.load(written(tmp_path, text))


def test_an_unknown_prompt_suggests_the_nearest() -> None:
    with pytest.raises(Unknown, match="did you mean rank1"):
        prompt.load("rank2")
    with pytest.raises(BadFile, match="no such file"):
        prompt.load("nowhere.toml")
