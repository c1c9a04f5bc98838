"""limrank/llm/_said.py"""

from limrank.llm import put_together
from limrank.records import Response

PIECE, END = Response("The cat ", finish_reason="length"), Response("sat.</think>", finish_reason="stop")
LABEL, FORCED = Response(logprobs=(-1.0, -2.0)), Response(logprobs=(-1.0, -3.0), status="forced")


def of(*answers: Response) -> tuple[str, float | None, str]:
    said = put_together(answers)
    return said.status, said.log_odds, said.thought


def test_pieces_of_a_thought_are_put_together_and_several_thoughts_are_paragraphs() -> None:
    assert of(PIECE, LABEL, END, LABEL) == ("ok", 1.0, "The cat sat.</think>")
    assert of(END, LABEL, END, LABEL) == ("ok", 1.0, "sat.</think>\n\nsat.</think>")
    assert of(PIECE, FORCED, END, LABEL) == ("ok", 1.0, "The cat \n\nsat.</think>")


def test_the_last_verdict_decides_the_status_unless_the_last_answer_is_a_failure() -> None:
    """With a smaller budget a thought may be cut back to the same sentence, so that its verdict is on record."""
    assert of(Response("The cat sat.", finish_reason="length"), FORCED, PIECE)[:2] == ("forced", 2.0)
    assert of(FORCED, PIECE, Response(status="failed", error="no answer"))[:2] == ("failed", None)
    assert put_together([Response(status="failed", error="no answer")]).error == "no answer"


def test_without_two_labels_there_are_no_odds() -> None:
    assert of(Response("[2] > [1]")) == ("ok", None, "[2] > [1]")
    assert of(Response(logprobs=(-1.0, -2.0, -3.0)))[1] is None
