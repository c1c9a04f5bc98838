"""limrank/models/*.toml and limrank/published.py, which reads them."""

import re
from dataclasses import replace

import pytest

from limrank import plugins, prompt, published
from limrank.errors import BadFile, LimrankError, Unknown
from limrank.llm._tokens import Tokens
from limrank.llm.fake import Fake
from limrank.records import Document, Query, Request, Response, ScoredDoc
from limrank.rerank import Job, open_reranker

QUERY, DOCUMENT = Query("q", "what is IR?"), Document("d", "IR is ...")
GOOD = 'title = "T"\nhub = "a/b"\nsource = "s"\nmethod = "pointwise"\nprompt = "true-false"\ndepth = 100\n'


def text_of(name: str, *documents: Document) -> str:
    """A filled prompt as one text, roles in brackets."""
    loaded = prompt.load(name)
    filled = loaded.fill_list(QUERY, documents) if loaded.many else loaded.fill(QUERY, documents[0])
    return "".join(
        (f"[{message.role}]" if message.role else "") + "".join(part.text for part in message.parts)
        for message in filled.messages
    )


@pytest.mark.parametrize("name", published.names())
def test_every_file_says_what_it_is_about_and_where_from(name: str) -> None:
    model = published.load(name)
    assert model.name == name and model.source and re.fullmatch(r"[\w.-]+/[\w.-]+", model.hub)
    assert not model.revision or re.fullmatch(r"[0-9a-f]{40}", model.revision)
    assert all(number.source for number in model.numbers)


@pytest.mark.parametrize("name", published.names())
def test_every_model_opens_with_its_method_and_prompt_or_says_why_not(name: str) -> None:
    model = published.load(name)
    if model.lacks:
        with pytest.raises(LimrankError, match=f"cannot run {re.escape(model.title)}: "):
            published.choose(model)
        return
    chosen = published.choose(model)
    if chosen.llm:
        backend = plugins.parse_spec(chosen.llm)
        assert backend.model == model.hub
        open_reranker(chosen.method, llm=Fake(lambda request: Response()), prompt=chosen.prompt)
    else:
        assert plugins.parse_spec(chosen.method).model == model.hub


def test_no_model_has_the_name_of_a_method() -> None:
    """A stage of a cascade begins with the name of either."""
    assert not set(published.names()) & set(plugins.names("rerank"))


def test_what_a_user_says_comes_before_what_the_model_says() -> None:
    model = published.load("limrank-7b")
    assert published.choose(model).depth == 10
    chosen = published.choose(
        model, method="pointwise think=none", llm="transformers dtype=float16", prompt="true-false", depth=50
    )
    # The model's budget would do nothing; the user's own is for the method to refuse.
    assert chosen.method == "pointwise think=none"
    assert published.choose(model, method="pointwise think=none budget=9").method == "pointwise think=none budget=9"
    assert published.choose(model, method="pointwise budget=9").method == "pointwise think=full budget=9"
    assert chosen.llm == "transformers:songtingyu/limrank max_length=16000 dtype=float16"
    assert (chosen.prompt, chosen.depth) == ("true-false", 50)
    assert published.choose(model, llm="transformers:folder").llm == "transformers:folder"


def test_a_backend_gets_the_options_that_it_has_and_no_others() -> None:
    model = published.load("qwen3-reranker-4b")
    assert published.choose(model, llm="openai url=http://h/v1").llm == (
        "openai:Qwen/Qwen3-Reranker-4B max_length=8192 tokenizer=Qwen/Qwen3-Reranker-4B url=http://h/v1"
    )
    assert published.choose(model, llm="transformers").llm == (
        f"transformers:Qwen/Qwen3-Reranker-4B max_length=8192 revision={model.revision}"
    )


def test_another_method_has_its_own_words_and_none_of_the_models_options() -> None:
    chosen = published.choose(published.load("rank1-7b"), method="likelihood")
    assert (chosen.method, chosen.prompt) == ("likelihood", "")


def test_a_model_whose_prompt_is_not_known_asks_for_one() -> None:
    model = replace(published.load("rank1-7b"), prompt="")
    with pytest.raises(LimrankError, match="--prompt"):
        published.choose(model)
    assert published.choose(model, prompt="true-false").prompt == "true-false"


@pytest.mark.parametrize(
    ("name", "documents", "text"),
    [
        (
            "qwen3-reranker",
            [DOCUMENT],
            "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
            'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n<Instruct>: Given '
            "a web search query, retrieve relevant passages that answer the query\n<Query>: what is IR?\n<Document>: "
            "IR is ...<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
        (
            "tfrank",
            [DOCUMENT],
            "<|im_start|>system\nBased on the relevance of the Documents to the Query and the Instruct provided to "
            "complete the task.\n<|im_end|>\n<|im_start|>user\n<Instruct>: Please judge the relevance strength between "
            "the query and the document, and directly output the relevance judgment (yes or no), followed by the "
            "relevance score in parentheses, e.g., yes(score) or no(score).\n\n\n- Relevance scores are represented by "
            "numbers from 0 to 4, with the following meanings:\n0 means completely irrelevant,\n1 means weakly relevant"
            ",\n2 means moderately relevant,\n3 means strongly relevant,\n4 means completely relevant.\n\n- For binary "
            "relevance judgment (yes or no), the rule is:\nScores 0 and 1 are considered irrelevant and represented as "
            '"no",\nScores 2, 3, and 4 are considered relevant and represented as "yes".\n\n\n<Query>: what is IR?'
            "\n\n\n<Document>: IR is ... /no think\n<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n",
        ),
        (
            "mxbai-rerank-v2",
            [DOCUMENT],
            "<|im_start|>system\nYou are Qwen, created by Alibaba Cloud. You are a helpful assistant.<|im_end|>\n"
            "<|im_start|>user\nquery: what is IR?\ndocument: IR is ...\nYou are a search relevance expert who "
            "evaluates how well documents match search queries. For each query-document pair, carefully analyze the "
            "semantic relationship between them, then provide your binary relevance judgment (0 for not relevant, 1 "
            "for relevant).\nRelevance:<|im_end|>\n<|im_start|>assistant\n",
        ),
        (
            "followir",
            [DOCUMENT],
            "<s> [INST] You are an expert Google searcher, whose job is to determine if the following document is "
            "relevant to the query (true/false). Answer using only one word, one of those two choices.\n\nQuery: what "
            'is IR?\nDocument: IR is ...\nRelevant (only output one word, either "true" or "false"): [/INST] ',
        ),
        ("monot5", [DOCUMENT], "Query: what is IR? Document: IR is ... Relevant:"),
        (
            "rank-zephyr",
            [DOCUMENT, Document("e", "no")],
            "[system]You are RankLLM, an intelligent assistant that can rank passages based on their relevancy to the "
            "query.[user]I will provide you with 2 passages, each indicated by a numerical identifier []. Rank the "
            "passages based on their relevance to the search query: what is IR?.\n\n[1] IR is ...\n[2] no\n"
            "Search Query: what is IR?.\nRank the 2 passages above based on their relevance to the search query. All "
            "the passages should be included and listed using identifiers, in descending order of relevance. The "
            "output format should be [] > [], e.g., [2] > [1], Only respond with the ranking results, do not say "
            "any word or explain.",
        ),
        (
            "rank-vicuna",
            [DOCUMENT, Document("e", "no")],
            "A chat between a curious user and an artificial intelligence assistant. The assistant gives helpful, "
            "detailed, and polite answers to the user's questions. USER: I will provide you with 2 passages, each "
            "indicated by a numerical identifier []. Rank the passages based on their relevance to the search query: "
            "what is IR?.\n\n[1] IR is ...\n[2] no\nSearch Query: what is IR?.\nRank the 2 passages above based on "
            "their relevance to the search query. All the passages should be included and listed using identifiers, in "
            "descending order of relevance. The output format should be [] > [], e.g., [4] > [2], Only respond with "
            "the ranking results, do not say any word or explain. ASSISTANT:",
        ),
    ],
)
def test_a_trained_prompt_is_sent_byte_for_byte(name: str, documents: list[Document], text: str) -> None:
    """The words as their authors' programs print them for this query and these documents."""
    assert text_of(name, *documents) == text


@pytest.mark.parametrize("name", ["rank-zephyr", "rank-vicuna", "reasonrank", "rearank", "rankgpt"])
def test_a_listwise_prompt_shows_titles_as_its_authors_do(name: str) -> None:
    """convert_doc_to_prompt_content of rank_llm and ReasonRank, run_retriever of RankGPT."""
    titled = Document("e", "no {query}", "A {passage}")
    assert "[2] Title: A {passage} Content: no {query}" in text_of(name, DOCUMENT, titled)
    assert "[1] IR is ..." in text_of(name, DOCUMENT, titled)


def test_published_passages_are_cut_as_their_authors_cut_them() -> None:
    """Rearank at 400 characters behind collapsed white space; ReasonRank by tokens, with its line breaks."""
    long = Document("d", "one\n  two " * 300)
    shown = {}
    for name in ("rearank-7b", "reasonrank-7b"):
        model, fake = published.load(name), Fake(lambda _: Response("[2] > [1]", finish_reason="stop"), keep=True)
        scored = (ScoredDoc("d", 2.0), ScoredDoc("e", 1.0))
        list(
            open_reranker(model.method, llm=fake, prompt=model.prompt).rerank(
                [Job(Query("q", "what?"), (long, Document("e", "no")), scored)]
            )
        )
        [shown[name], *_] = [p.text for m in fake.seen[0].messages for p in m.parts if p.text.startswith("one")]
    assert shown == {"rearank-7b": ("one two " * 300)[:400], "reasonrank-7b": ("one\n  two " * 300)[:2000]}


@pytest.mark.parametrize("blank", ["by the normalizer", "by the pre-tokenizer"])
def test_the_labels_of_followir_are_the_tokens_that_its_authors_read(blank: str) -> None:
    """The prompt ends with a blank, a token of its own here; behind it they read "true", not "▁true"."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers
    from transformers import PreTrainedTokenizerFast

    followir = prompt.load("followir")
    filled = followir.fill(Query("q", "x"), Document("d", "x"))
    letters = {letter for part in filled.messages[0].parts for letter in part.text}
    pieces = {"<unk>": -20.0, "<s>": 0.0} | dict.fromkeys(letters - {" "}, -9.0) | {"\n": -3.0, "▁": -3.0}
    pieces |= dict.fromkeys(["true", "▁true", "false", "▁false", "▁[/INST]"], -2.0)
    backend = Tokenizer(models.Unigram(list(pieces.items()), unk_id=0))
    if blank == "by the normalizer":
        backend.normalizer = normalizers.Sequence([normalizers.Prepend("▁"), normalizers.Replace(" ", "▁")])
    else:
        backend.pre_tokenizer = pre_tokenizers.Metaspace(prepend_scheme="first", split=False)
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, bos_token="<s>", unk_token="<unk>")
    encoded = Tokens(tokenizer).encode(Request(filled.messages, choices=followir.choice_parts), 10_000)
    assert tokenizer.convert_ids_to_tokens(encoded.ids)[-2:] == ["▁[/INST]", "▁"]
    assert [tokenizer.convert_ids_to_tokens(ids) for ids in encoded.choices] == [["true"], ["false"]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("title = ", "model x: not TOML"),
        (GOOD + 'licens = "mit"', "unknown key 'licens'"),
        (GOOD.replace("depth = 100", ""), "depth is missing"),
        (GOOD.replace("100", '"100"'), "depth is a whole number of documents, not '100'"),
        (GOOD.replace('"a/b"', "3"), "hub is a text in quotes, not 3"),
        (GOOD + "notes = [1]", "notes is a list of texts"),
        (GOOD.replace("pointwise", "pointwize"), "did you mean pointwise"),
        (GOOD.replace("pointwise", "pointwise thnk=full"), "thnk"),
        (GOOD.replace("true-false", "true-fals"), "did you mean true-false"),
        (GOOD.replace("true-false", "listwise"), "several documents at a time"),
        (GOOD.replace('"pointwise"', '"bi_encoder"'), "bi_encoder has no prompt"),
        (GOOD + 'recalled = ["year"]', "recalled names 'year'"),
        (GOOD + '[[numbers]]\nbenchmark = "bright"', "a number has no measure"),
        (
            GOOD + '[[numbers]]\nbenchmark="b"\nmeasure="m"\nvalue=1.0\nsource="s"\nstatus="guessed"',
            "status 'guessed' of a number",
        ),
        (GOOD + '[[numbers]]\nbenchmark="b"\nmeasure="m"\nvalue="1"\nsource="s"\nstatus="found"', "value of a number"),
    ],
)
def test_a_file_that_is_no_model_is_refused(text: str, message: str) -> None:
    with pytest.raises(BadFile, match=message):
        published.parse("x", text)


def test_the_file_that_the_mistakes_were_made_in_is_a_model() -> None:
    assert published.parse("x", GOOD) == published.Published(
        "x", title="T", hub="a/b", source="s", method="pointwise", prompt="true-false", depth=100
    )


def test_an_unknown_model_suggests_the_nearest() -> None:
    with pytest.raises(Unknown, match="did you mean .*limrank-7b"):
        published.load("limrank-8b")


def test_limrank_is_published_as_the_paper_has_it() -> None:
    model = published.load("limrank-7b")
    [bright] = [number for number in model.numbers if number.benchmark == "bright"]
    assert (bright.value, bright.depth, bright.status) == (28.0, 10, "found")
    assert (model.hub, model.prompt, model.licence) == ("songtingyu/limrank", "rank1", "")
