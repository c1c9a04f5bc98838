"""FollowIR and LitSearch in ir_datasets' own registry, so that PyTerrier, ir_measures and others load them by id.

    import limrank.datasets, ir_datasets
    limrank.datasets.register_with_ir_datasets()
    ir_datasets.load("followir/core17")

Knows ir_datasets' interfaces; what a dataset holds it asks the dataset. Nothing is downloaded before it is used.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any, NamedTuple, TypeAlias

from limrank.datasets import followir, litsearch
from limrank.datasets._hub_dataset import HubDataset
from limrank.datasets.irds import library

Split: TypeAlias = followir.FollowIRDataset | litsearch.LitSearchDataset


class HubDoc(NamedTuple):
    """A document as ir_datasets has them."""

    doc_id: str
    title: str
    text: str

    def default_text(self) -> str:
        """Title and text."""
        return f"{self.title} {self.text}"


class InstructedQuery(NamedTuple):
    """A query of FollowIR."""

    query_id: str
    text: str
    instruction: str

    def default_text(self) -> str:
        """The text without the instruction."""
        return self.text


class LitSearchQuery(NamedTuple):
    """A question of LitSearch."""

    query_id: str
    text: str
    query_set: str
    specificity: str
    quality: int

    def default_text(self) -> str:
        """The question."""
        return self.text


class Docs:
    """The documents of a dataset; a store for slices and look-ups is built where ir_datasets keeps its own."""

    def __init__(self, dataset: HubDataset) -> None:
        self._dataset = dataset

    def docs_iter(self) -> Any:
        store = self.docs_store()
        if store.built():
            return iter(store)
        return library().util.DocstoreSplitter(self._records(), store)

    def docs_store(self, field: str = "doc_id") -> Any:
        irds = library()
        repository = self._dataset.repository
        folder = irds.util.home_path() / "limrank" / repository.repo.replace("/", "--")
        folder.mkdir(parents=True, exist_ok=True)
        return irds.indices.PickleLz4FullStore(
            path=str(folder / f"{repository.commit}.pklz4"),
            init_iter_fn=self._records,
            data_cls=HubDoc,
            lookup_field=field,
            index_fields=["doc_id"],
        )

    def docs_count(self) -> int | None:
        store = self.docs_store()
        return int(store.count()) if store.built() else None

    def docs_cls(self) -> type:
        return HubDoc

    def docs_namespace(self) -> str:
        return self._dataset.name.partition("/")[0]

    def docs_lang(self) -> str:
        return "en"

    def _records(self) -> Iterator[HubDoc]:
        return (HubDoc(document.doc_id, document.title, document.text) for document in self._dataset.documents())


class Queries:
    """The queries of a dataset."""

    def __init__(self, dataset: Split) -> None:
        self._dataset = dataset

    def queries_iter(self) -> Iterator[InstructedQuery | LitSearchQuery]:
        if isinstance(self._dataset, followir.FollowIRDataset):
            return (InstructedQuery(*query) for query in self._dataset.queries())
        return (
            LitSearchQuery(asked.query_id, asked.text, asked.query_set, asked.specificity, asked.quality)
            for asked in self._dataset.questions()
        )

    def queries_cls(self) -> type:
        return InstructedQuery if isinstance(self._dataset, followir.FollowIRDataset) else LitSearchQuery

    def queries_namespace(self) -> str:
        return self._dataset.name.partition("/")[0]

    def queries_lang(self) -> str:
        return "en"


class Judgments:
    """The judgments of a dataset."""

    def __init__(self, dataset: HubDataset, record: type) -> None:
        self._dataset = dataset
        self._record = record

    def qrels_iter(self) -> Iterator[Any]:
        for query_id, by_doc in self._dataset.qrels().items():
            for doc_id, relevance in by_doc.items():
                yield self._record(query_id, doc_id, relevance)

    def qrels_cls(self) -> type:
        return self._record

    def qrels_defs(self) -> dict[int, str]:
        # What TREC's grades of a FollowIR collection mean differs from one to the next.
        return {1: "relevant"} if isinstance(self._dataset, litsearch.LitSearchDataset) else {}


class Candidates:
    """FollowIR's documents to be ranked; their scores are only their order in the file."""

    def __init__(self, dataset: followir.FollowIRDataset, record: type) -> None:
        self._dataset = dataset
        self._record = record

    def scoreddocs_iter(self) -> Iterator[Any]:
        run = self._dataset.candidates()
        return (self._record(query_id, *scored) for query_id in run for scored in run[query_id])

    def scoreddocs_cls(self) -> type:
        return self._record


def register_with_ir_datasets() -> list[str]:
    """Make FollowIR and LitSearch known to ir_datasets in this process; a second call changes nothing.

    An id that ir_datasets has by then, from itself or another package, is left as it is.

    Returns:
        The ids that were added: followir/<collection>[/og|/changed], litsearch[/specific|/broad[/inline|/author]].

    Raises:
        MissingExtra: ir_datasets is not installed.
    """
    registry = library().registry
    added = []
    for family in families():
        docs = mixed(Docs, "BaseDocs", family[0])
        for dataset in family:
            if dataset.name not in registry:
                registry.register(dataset.name, handlers(dataset, docs))
                added.append(dataset.name)
    return added


def families() -> Iterator[Sequence[Split]]:
    """All datasets, those with the same documents together, the one that holds all queries first."""
    for task in followir.REPOSITORIES:
        yield [followir.FollowIRDataset(task, side) for side in ("", *followir.SIDES)]
    splits = [("", "")]
    splits += [
        (kind, origin) for kind in litsearch.SPECIFICITY.values() for origin in ("", *litsearch.ORIGINS.values())
    ]
    yield [litsearch.LitSearchDataset(*split) for split in splits]


def handlers(dataset: Split, docs: Any) -> Any:
    """The dataset as ir_datasets has them."""
    irds = library()
    parts = [
        docs,
        mixed(Queries, "BaseQueries", dataset),
        mixed(Judgments, "BaseQrels", dataset, irds.formats.GenericQrel),
    ]
    if isinstance(dataset, followir.FollowIRDataset):
        parts.append(mixed(Candidates, "BaseScoredDocs", dataset, irds.formats.GenericScoredDoc))
    return irds.Dataset(*parts)


def mixed(ours: type, base: str, *arguments: object) -> Any:
    """An object of our class that also has what ir_datasets' base class of this name gives (docs_hash, qrels_dict).

    Made here, because ir_datasets is not to be imported before it is needed.
    """
    return type(ours.__name__, (ours, getattr(library().formats, base)), {})(*arguments)
