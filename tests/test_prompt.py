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


LIST = """
format = "completion"
item = "[{number}|{letter}] {title}: {passage}\\n"
text = "{query}, {count} of them:\\n{passages}as in {example}, {query}"
"""
THREE = (Document("a", "first", "One"), Document("b", "{query}"), Document("c", "third", "Three"))


def test_a_list_prompt_names_its_documents_in_their_order(tmp_path: Path) -> None:
    loaded = prompt.load(written(tmp_path, LIST), many=True)
    [message] = loaded.fill_list(Query("q", "why?", "Be {count}."), THREE).messages
    assert "".join(part.text for part in message.parts) == (
        "why? Be {count}., 3 of them:\n[1|A] One: first\n[2|B] : {query}\n[3|C] Three: third\n"
        "as in [2] > [1] > [3], why? Be {count}."
    )


def test_the_passages_of_a_list_may_be_cut_and_what_is_before_the_first_is_shared(tmp_path: Path) -> None:
    filled = prompt.load(written(tmp_path, LIST)).fill_list(QUERY, THREE)
    parts = [part for message in filled.messages for part in message.parts]
    assert [parts[i] for i in filled.cut] == [Part(text, False) for text in ("first", "{query}", "third")]
    # Nothing of a document is shared, and no part behind the first of a document.
    shared = "".join(part.text for part in parts[: filled.shared])
    assert shared == "why {passage}? Be strict., 3 of them:\n[1|A] "
    other = prompt.load(written(tmp_path, LIST)).fill_list(QUERY, THREE[::-1])
    assert [part for message in other.messages for part in message.parts][: other.shared] == parts[: filled.shared]


def test_a_list_as_a_chat_repeats_neighbouring_messages_together(tmp_path: Path) -> None:
    path = written(
        tmp_path,
        'format = "chat"\n'
        '[[messages]]\nrole = "system"\ntext = "Rank {count}."\n'
        '[[messages]]\nrole = "user"\nrepeat = true\ntext = "[{number}] {passage}"\n'
        '[[messages]]\nrole = "assistant"\nrepeat = true\ntext = "Got {number}."\n'
        '[[messages]]\nrole = "user"\ntext = "{query}"\n',
    )
    loaded = prompt.load(path, many=True)
    filled = loaded.fill_list(QUERY, THREE[:2])
    assert [(message.role, "".join(part.text for part in message.parts)) for message in filled.messages] == [
        ("system", "Rank 2."),
        ("user", "[1] One first"),
        ("assistant", "Got 1."),
        ("user", "[2] {query}"),
        ("assistant", "Got 2."),
        ("user", "why {passage}? Be strict."),
    ]
    # Rank, 2, ., [, 1, ], passage: parts are counted over all messages.
    parts = [part.text for message in filled.messages for part in message.parts]
    assert [parts[i] for i in filled.cut] == ["One first", "{query}"] and parts[filled.shared] == "One first"


@pytest.mark.parametrize("name", prompt.names())
def test_only_the_files_own_words_are_trusted_in_a_list(name: str) -> None:
    loaded = prompt.load(name, needs=())
    if not loaded.many:
        pytest.skip("not a prompt for several documents")
    secret = [Document(f"d{i}", "SECRET", "SECRET") for i in range(3)]
    filled = loaded.fill_list(Query("q", "SECRET", "SECRET"), secret)
    parts = [part for message in filled.messages for part in message.parts]
    assert sum(not part.trusted and "SECRET" in part.text for part in parts) >= 4
    assert all("SECRET" not in part.text for part in parts if part.trusted)


def test_how_many_documents_a_prompt_is_about_is_checked(tmp_path: Path) -> None:
    with pytest.raises(BadFile, match="rank1: is about one document at a time"):
        prompt.load("rank1", many=True)
    with pytest.raises(BadFile, match="is about several documents at a time"):
        prompt.load(written(tmp_path, LIST), many=False)
    lonely = 'format = "completion"\ntext = "{query} {passages}"'
    with pytest.raises(BadFile, match="need each other"):
        prompt.load(written(tmp_path, lonely), needs=())
    with pytest.raises(BadFile, match=r"nothing fills \{number\}"):
        prompt.load(written(tmp_path, 'format = "completion"\ntext = "{query} {passage} {number}"'))


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
        (
            'format = "completion"\ntext = "{query} {passage}"\ntitled = "{title}"',
            "titled is made of {title} and {passage}",
        ),
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
