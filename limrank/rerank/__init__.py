"""The second stage: put a run's best documents into a better order.

A method is one file with `load(llm, prompt, *, ...) -> Reranker` and is written for one query; `_drive` runs many.
"""
