import json
import shutil

import pytest

from limrank.retrieve._models import DEFAULT, find_model


@pytest.fixture(scope="module")
def cache(tmp_path_factory):
    """A cache of exported models for one test file."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("LIMRANK_CACHE", str(tmp_path_factory.mktemp("cache")))
        yield


@pytest.fixture(scope="session")
def tiny():
    """Makes embedding models that are real and fast: random weights, and the tokenizer of the default model."""
    return make_model


def make_model(folder, *, pooling="mean", normalize=True, configuration=None, seed=0):
    import torch
    from transformers import BertConfig, BertModel

    torch.manual_seed(seed)
    shipped = find_model(DEFAULT).folder
    folder.mkdir(parents=True)
    for name in ("tokenizer.json", "tokenizer_config.json", "special_tokens_map.json", "vocab.txt"):
        shutil.copy(shipped / name, folder)
    BertModel(
        BertConfig(hidden_size=32, num_hidden_layers=1, num_attention_heads=2, intermediate_size=64)
    ).save_pretrained(folder)
    kinds = ["Transformer", "Pooling", "Normalize"][: 3 if normalize else 2]
    modules = [
        {"idx": i, "name": str(i), "path": f"{i}_{kind}" if i else "", "type": f"sentence_transformers.models.{kind}"}
        for i, kind in enumerate(kinds)
    ]
    (folder / "modules.json").write_text(json.dumps(modules))
    (folder / "sentence_bert_config.json").write_text('{"max_seq_length": 64, "do_lower_case": false}')
    (folder / "1_Pooling").mkdir()
    modes = {
        f"pooling_mode_{mode}": mode.startswith(pooling)
        for mode in ("cls_token", "mean_tokens", "max_tokens", "mean_sqrt_len_tokens")
    } | {"pooling_mode_mean_sqrt_len_tokens": False}
    (folder / "1_Pooling" / "config.json").write_text(json.dumps({"word_embedding_dimension": 32} | modes))
    if configuration:
        (folder / "config_sentence_transformers.json").write_text(json.dumps(configuration))
    return find_model(str(folder))
