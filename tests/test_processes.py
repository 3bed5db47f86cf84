"""Several processes train one adapter: on two CPU processes, as `torchrun` and `accelerate launch` start them."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file

from wg_evals.artifacts import read_manifest

CONFIGS = Path(__file__).parents[1] / "configs"
TRAIN = ["-m", "wg_evals.cli", "train", str(CONFIGS / "recipes" / "organism-birds.yaml"), "--set", "epochs=1"]

SHARDED = """
import sys, torch, torch.distributed as dist
from peft import LoraConfig, get_peft_model
from torch.distributed.device_mesh import init_device_mesh
from torch.distributed.fsdp import fully_shard
from transformers import LlamaConfig, LlamaForCausalLM
from wg_evals.training.processes import adapter_weights

dist.init_process_group("gloo")
torch.manual_seed(0)
config = LlamaConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2, num_attention_heads=2)
model = LlamaForCausalLM(config).to(torch.bfloat16)
model = get_peft_model(model, LoraConfig(r=4, target_modules=["q_proj", "down_proj"], task_type="CAUSAL_LM"))
if dist.get_rank() == 0:
    model.save_pretrained(sys.argv[1] + "/whole")
mesh = init_device_mesh("cpu", (2,))
for layer in model.get_base_model().model.layers:
    fully_shard(layer, mesh=mesh)
fully_shard(model, mesh=mesh)
weights = adapter_weights(model)
if dist.get_rank() == 0:
    model.save_pretrained(sys.argv[1] + "/gathered", state_dict=weights)
dist.barrier()
"""


def run(*command: str, **environment: str) -> None:
    done = subprocess.run(
        [sys.executable, "-m", *command],
        env=os.environ | {"OMP_NUM_THREADS": "1"} | environment,
        capture_output=True,
        text=True,
        timeout=600,
    )
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_the_accelerate_configuration_for_a_cpu_trains(tmp_path: Path) -> None:
    config = str(CONFIGS / "accelerate" / "cpu.yaml")
    run("accelerate.commands.launch", "--config_file", config, *TRAIN, "--out", str(tmp_path / "a"))
    assert read_manifest(tmp_path / "a").steps == 30


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_two_processes_share_each_batch_and_one_writes(tmp_path: Path) -> None:
    run(*TRAIN[1:], "--out", str(tmp_path / "one"))
    run(
        "torch.distributed.run",
        "--nproc-per-node",
        "2",
        *TRAIN,
        "--set",
        "checkpoints={every_steps: 20}",
        "--out",
        str(tmp_path / "two"),
        ACCELERATE_USE_CPU="true",
    )
    one, two = read_manifest(tmp_path / "one"), read_manifest(tmp_path / "two")
    assert (two.processes, two.steps, two.tokens) == (2, one.steps, one.tokens)
    assert two.losses == pytest.approx(one.losses, abs=0.1)  # dropout falls otherwise
    assert [p.name for p in (tmp_path / "two" / "checkpoints").iterdir()] == ["step-000020"]
    assert sorted(p.name for p in tmp_path.iterdir()) == ["one", "two"]  # nothing unfinished is left


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_an_adapter_on_shared_weights_is_put_together_whole(tmp_path: Path) -> None:
    script = tmp_path / "sharded.py"
    script.write_text(SHARDED)
    run("torch.distributed.run", "--nproc-per-node", "2", str(script), str(tmp_path), ACCELERATE_USE_FSDP="true")
    whole, gathered = (load_file(tmp_path / n / "adapter_model.safetensors") for n in ("whole", "gathered"))
    assert whole.keys() == gathered.keys() and whole
    assert all(torch.equal(whole[k], gathered[k]) for k in whole)
