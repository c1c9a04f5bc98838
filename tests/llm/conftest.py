"""The small model of all tests as a GGUF file, with wider heads, and behind vLLM's server."""

import importlib.util
import json
from collections.abc import Iterator
from pathlib import Path

import pytest


@pytest.fixture(scope="session")
def tiny_gguf(tiny_model: Path) -> Path:
    """`tiny_model` in float32 for llama.cpp: the same weights, tokens and chat template."""
    import gguf
    from safetensors.numpy import load_file

    config = json.loads((tiny_model / "config.json").read_text())
    tokenizer = json.loads((tiny_model / "tokenizer.json").read_text())
    path = tiny_model / "tiny.gguf"
    writer = gguf.GGUFWriter(path, "qwen2")
    writer.add_context_length(config["max_position_embeddings"])
    writer.add_embedding_length(config["hidden_size"])
    writer.add_block_count(config["num_hidden_layers"])
    writer.add_feed_forward_length(config["intermediate_size"])
    writer.add_head_count(config["num_attention_heads"])
    writer.add_head_count_kv(config["num_key_value_heads"])
    writer.add_layer_norm_rms_eps(config["rms_norm_eps"])
    writer.add_rope_freq_base(config["rope_parameters"]["rope_theta"])
    writer.add_file_type(0)
    added = {token["id"]: token for token in tokenizer["added_tokens"]}
    words = {i: word for word, i in tokenizer["model"]["vocab"].items()} | {i: added[i]["content"] for i in added}
    normal, control, user_defined = 1, 3, 4
    kinds = [normal if i not in added else control if added[i]["special"] else user_defined for i in range(len(words))]
    writer.add_tokenizer_model("gpt2")
    writer.add_tokenizer_pre("gpt-2")
    writer.add_token_list([words[i] for i in range(len(words))])
    writer.add_token_types(kinds)
    writer.add_token_merges([" ".join(pair) for pair in tokenizer["model"]["merges"]])
    writer.add_eos_token_id(config["eos_token_id"])
    writer.add_add_bos_token(False)
    writer.add_chat_template((tiny_model / "chat_template.jinja").read_text())
    tensors = load_file(tiny_model / "model.safetensors")
    names = gguf.get_tensor_name_map(gguf.MODEL_ARCH.QWEN2, config["num_hidden_layers"])
    for name, values in tensors.items():
        writer.add_tensor(names.get_name(name, try_suffixes=(".weight", ".bias")), values)
    if "lm_head.weight" not in tensors:
        raise AssertionError("the output layer is not a tensor of its own")
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


@pytest.fixture(scope="session")
def wide_model(tiny_model: Path) -> Path:
    """`tiny_model` with one head of 32 instead of four of 8, for which vLLM has no kernels on CPUs."""
    import shutil

    import torch
    from transformers import Qwen2Config, Qwen2ForCausalLM

    folder = tiny_model.with_name("wide-qwen2")
    shutil.copytree(tiny_model, folder, ignore=shutil.ignore_patterns("*.safetensors", "*.gguf"))
    torch.manual_seed(0)
    config = Qwen2Config.from_pretrained(tiny_model, num_attention_heads=1, num_key_value_heads=1)
    Qwen2ForCausalLM(config).save_pretrained(folder)
    return folder


@pytest.fixture(scope="session")
def vllm_url(wide_model: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """vLLM's server with `wide_model` as m."""
    spec = importlib.util.spec_from_file_location("server_process", Path(__file__).parent / "server_process.py")
    assert spec is not None and spec.loader is not None
    server_process = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(server_process)
    options = ("--dtype", "float32", "--enforce-eager", "--max-num-seqs", 16, "--gpu-memory-utilization", 0.1)
    names = ("--model", wide_model, "--served-model-name", "m")
    log = tmp_path_factory.mktemp("vllm") / "log"
    with server_process.Server("vllm.entrypoints.openai.api_server", *names, *options, log=log, seconds=240) as server:
        yield server.url
