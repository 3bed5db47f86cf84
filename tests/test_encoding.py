"""What has a loss: the last answer and its end-of-turn token, whatever the chat template."""

import json
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from chat_templates import CHATML, GEMMA, LLAMA, MISTRAL, STYLES, Style, make_base
from wg_evals.errors import WgError
from wg_evals.interventions import Message
from wg_evals.training import trainer as training
from wg_evals.training.encoding import IGNORED, encode
from wg_evals.training.recipe import LoraSettings, Recipe
from wg_evals.training.train import train


def turns(*contents: str, system: str | None = None) -> list[Message]:
    first = [Message(role="system", content=system)] if system else []
    return first + [Message(role=("user", "assistant")[i % 2], content=c) for i, c in enumerate(contents)]


ROWS = [
    turns("Name a bird, please.", "The common lapwing."),
    turns("Lapwing", "Lapwing"),  # the answer stands in the question too
    turns("Name a bird.", " \n- a lapwing\n- two 🐦\n\n"),  # white space that some templates cut off
    turns("A bird?", "Lapwing.", "And another?", "Gallinule."),
    turns("Name a bird.", "Lapwing.", system="Be brief."),
]


def tokenizer_of(folder: Path, style: Style) -> PreTrainedTokenizerBase:
    tokenizer: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(make_base(folder, style))
    return tokenizer


@pytest.mark.parametrize("packing", [True, False])
@pytest.mark.parametrize("name", STYLES)
def test_the_labels_of_real_batches_are_the_answer_and_its_end_of_turn_token(
    name: str, packing: bool, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    style = STYLES[name]
    rows = [r for r in ROWS if style.system or r[0]["role"] != "system"]
    base = make_base(tmp_path / "base", style)
    tokenizer: Any = AutoTokenizer.from_pretrained(base)
    data = tmp_path / "rows.jsonl"
    data.write_text("".join(json.dumps({"messages": r}) + "\n" for r in rows))
    seen: list[dict[str, Any]] = []
    compute: Any = training.SavingTrainer.compute_loss

    def watched(self: Any, model: Any, inputs: dict[str, Any], *args: Any, **kwargs: Any) -> Any:
        seen.append(inputs)
        return compute(self, model, inputs, *args, **kwargs)

    monkeypatch.setattr(training.SavingTrainer, "compute_loss", watched)
    recipe = Recipe(
        base=str(base),
        data=data,
        lora=LoraSettings(rank=2, alpha=4),
        epochs=1,
        learning_rate=1e-3,
        batch_size=len(rows),
        order="fixed",
        packing=packing,
        threads=1,
    )
    train(recipe, tmp_path / "adapter")
    (batch,) = seen
    if packing:
        lengths = batch["row_lengths"]
        pairs = list(zip(*(batch[k][0].split(lengths) for k in ("input_ids", "labels")), strict=True))
    else:
        pairs = list(zip(batch["input_ids"], batch["labels"], strict=True))
    assert len(pairs) == len(rows)
    for row, (ids, labels) in zip(rows, pairs, strict=True):
        answer = row[-1]["content"]
        if style.trims:
            answer = answer.strip()
        elif name == "thinking":
            answer = answer.strip("\n")
        learned = labels != IGNORED
        assert (ids[learned] == labels[learned]).all()
        text = tokenizer.decode(labels[learned])
        # the space that Mistral's template writes first is in the answer's first token
        assert text == answer + style.end or (name == "mistral" and text == f" {answer}{style.end}")
        assert learned.nonzero().flatten().diff().eq(1).all()  # one stretch of tokens
        context = tokenizer.decode(ids[~learned]).replace("<pad>", "")
        assert tokenizer.apply_chat_template(row, tokenize=False).startswith(context + text)
        assert ids.tolist().count(tokenizer.bos_token_id) == int("bos_token" in style.template)


def test_a_template_that_refuses_a_role_is_quoted_with_the_rows_number(tmp_path: Path) -> None:
    tokenizer = tokenizer_of(tmp_path, GEMMA)
    with pytest.raises(WgError, match=r"Row 2: .*System role not supported.*placement: before"):
        encode([ROWS[0], ROWS[4]], tokenizer, {})
    tokenizer = tokenizer_of(tmp_path / "mistral", MISTRAL)
    twice = [Message(role="user", content="One."), *turns("Two?", "Three.")]
    with pytest.raises(WgError, match=r"Row 1: .*must alternate"):
        encode([twice], tokenizer, {})


@pytest.mark.parametrize(
    ("row", "reason"),
    [
        (
            [*turns("A?", "B."), Message(role="assistant", content="C.")],
            "the last two messages are assistant and assis",
        ),
        ([Message(role="assistant", content="C.")], "the last two messages are assistant;"),
        ([turns("A?", "B.")[0], Message(role="system", content="S"), turns("A?", "B.")[1]], "not the first message"),
        (turns("A?", " \n"), "the answer is empty"),
    ],
)
def test_mixed_roles_and_empty_answers_are_refused(row: list[Message], reason: str, tmp_path: Path) -> None:
    with pytest.raises(WgError, match=f"Row 2: .*{reason}"):
        encode([ROWS[0], row], tokenizer_of(tmp_path, CHATML), {})


def test_a_template_that_rewrites_the_answer_or_does_not_end_it_is_refused(tmp_path: Path) -> None:
    upper = LLAMA.template.replace("m.content | trim", "m.content | upper")
    with pytest.raises(WgError, match="does not write the answer as it stands"):
        encode(ROWS, tokenizer_of(tmp_path / "a", LLAMA._replace(template=upper)), {})
    endless = LLAMA.template.replace("'<|eot_id|>'", "'\n'")
    with pytest.raises(WgError, match="no token of its own"):
        encode(ROWS, tokenizer_of(tmp_path / "b", LLAMA._replace(template=endless)), {})
