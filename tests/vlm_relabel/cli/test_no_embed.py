"""`score --no-embed`: rewards for goals of known texts, without an encoder."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from schemas.store import Store
from tests.pipelines.store_checks import hashes
from tests.vlm_relabel.cli.cli_outcomes import Run, flat, refusal
from tests.vlm_relabel.cli.test_missing_extras import ALL, without


@pytest.fixture
def made(run: Run, source: Path, goals: Path, store: Path, tiny_model: str) -> Path:
    """A store with the reward set `v1`."""
    words = {"--source": source, "--camera": "front", "--encoder": tiny_model, "--goals": goals}
    done = run("relabel", *flat({**words, "--store": store, "--threads": 1}))
    assert done.exit_code == 0, done.output
    return store


def again(made: Path, goals: Any, encoder: str, name: str = "v2", **more: Any) -> list[Any]:
    options = {f"--{option.replace('_', '-')}": value for option, value in more.items()}
    words = {"--store": made, "--goals": goals, "--encoder": encoder, "--name": name}
    return ["score", "--no-embed", *flat({**words, **options, "--threads": 1})]


def tables(store: Path) -> dict[str, str]:
    """Hashes of the Parquet files of reward sets."""
    return {p: h for p, h in hashes(store).items() if p.endswith(".parquet") and "rewards" in p}


def test_the_bytes_are_those_of_the_encoder(
    run: Run, made: Path, goals: Path, tiny_model: str, tmp_path: Path
) -> None:
    copy = shutil.copytree(made, tmp_path / "copy")
    line = again(made, goals, tiny_model, reward="cosine")
    assert run(*line).exit_code == 0
    line = again(copy, goals, tiny_model, reward="cosine")
    line.remove("--no-embed")
    assert run(*line).exit_code == 0
    assert tables(made) == tables(copy)
    assert len(tables(made)) == 6
    assert run("verify", made).exit_code == 0


@pytest.mark.slow
def test_no_library_of_an_extra_is_needed(made: Path, goals: Path, tiny_model: str) -> None:
    store = Store.open(str(made))
    spec, expected = store.rewards("v1").encoder, store.read("rewards/v1")
    for number, name in enumerate((tiny_model, spec.slug, spec.key)):
        done = without(ALL, *again(made, goals, name, f"w{number}"), "--json")
        assert done.returncode == 0, done.stdout + done.stderr
        assert json.loads(done.stdout)["engine"] == "this process"
        assert Store.open(str(made)).read(f"rewards/w{number}").equals(expected)


def test_what_is_not_stored_is_named(run: Run, made: Path, tiny_model: str) -> None:
    message = refusal(run(*again(made, "a purple room", tiny_model), "--json"))
    assert "--no-embed: no embedding of “a purple room”" in message
    assert "`score` without --no-embed embeds and keeps" in message
    assert not (made / "rewards" / "v2").exists()


def test_an_encoder_that_is_not_stored(run: Run, made: Path, goals: Path, tiny_model: str) -> None:
    message = refusal(run(*again(made, goals, "ViT-B-32:openai"), "--json"))
    assert "no embeddings of such an encoder are stored; there are" in message
    assert f"{tiny_model} at float32" in message


@pytest.mark.parametrize("option", [["--truncate-texts"], ["--preprocess", "openai"]])
def test_what_only_an_encoder_does(
    run: Run, made: Path, goals: Path, tiny_model: str, option: list[str]
) -> None:
    message = refusal(run(*again(made, goals, tiny_model), *option, "--json"))
    assert message == f"--no-embed and {option[0]} exclude each other; leave one side out"


def test_of_two_precisions_one_is_named(
    run: Run, source: Path, made: Path, goals: Path, tiny_model: str
) -> None:
    words = {"--source": source, "--camera": "front", "--encoder": tiny_model, "--store": made}
    assert run("embed", *flat({**words, "--precision": "bfloat16"})).exit_code == 0
    message = refusal(run(*again(made, goals, tiny_model), "--json"))
    assert "fits" in message
    assert "(float32) and " in message
    assert "(bfloat16); give one of these names, or --precision" in message
    assert run(*again(made, goals, tiny_model, precision="float32")).exit_code == 0
    lacking = refusal(run(*again(made, goals, tiny_model, precision="bfloat16"), "--json"))
    assert "no embedding of" in lacking


def test_texts_that_were_cut_are_not_kept(run: Run, made: Path, tiny_model: str) -> None:
    long = "a drawer " * 100
    words = {"--store": made, "--goals": long, "--encoder": tiny_model, "--name": "cut"}
    done = run("score", "--truncate-texts", *flat(words))
    assert done.exit_code == 0, done.output
    assert "no embedding of" in refusal(run(*again(made, long, tiny_model), "--json"))


def test_a_rerun_writes_nothing(run: Run, made: Path, goals: Path, tiny_model: str) -> None:
    line = again(made, goals, tiny_model)
    assert run(*line).exit_code == 0
    before = hashes(made)
    assert run(*line).exit_code == 0
    assert hashes(made) == before
