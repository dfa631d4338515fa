"""Locations: their kinds, what is local, and no secret in one."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path

import pytest

from schemas.errors import LocationError
from schemas.locations import (
    check_location,
    check_no_secret,
    is_url,
    local_path,
    path_argument,
    redacted,
)

SECRETS = [
    "s3://KEY:hunter2@bucket/s",
    "s3://KEY:hun/ter2@bucket/s",  # a key of AWS may have slashes in it
    "s3://KEY:hun?ter2@bucket/s",
    "s3://KEY:hunt'er2@bucket/s",
    "s3://hunter2@bucket/model@v1",
    "S3://KEY:hunter2@bucket/s",
    "gs://bucket/s?token=hunter2",
    "s3://bucket/s?X-Amz-Signature=hunter2&x=a@b",
    "https://host:8080/goals.yaml?sig=hunter2",
    "simplecache::s3://KEY:hunter2@bucket/s",
    "local-dir:s3://KEY:hunter2@bucket/encoder",
    "--store=s3://KEY:hunter2@bucket/s",
]
PLAIN = [
    "s3://bucket/s",
    "s3://bucket/model@v1/a b.store",
    "https://host:8080/goals.yaml",
    "file:///data/s",
    "/data/what?",
    "me@host:/data",
    "is the drawer open?",
    "--set=alpha=0.5",
    "field:language",
]


@pytest.mark.parametrize("word", SECRETS)
def test_a_word_with_a_secret_is_refused_without_telling_it(word: str) -> None:
    with pytest.raises(LocationError, match=r"must not carry keys.*AWS_ACCESS_KEY_ID") as told:
        check_no_secret(word)
    assert not [part for part in ("hun", "ter2", "er2", "KEY:") if part in str(told.value)]


@pytest.mark.parametrize("word", PLAIN)
def test_a_word_without_a_secret_is_taken_and_shown_as_it_is(word: str) -> None:
    check_no_secret(word)
    assert redacted(word) == word


@pytest.mark.parametrize("word", [word for word in SECRETS if "'" not in word])
def test_secrets_are_taken_out_of_texts(word: str) -> None:
    command = f"vlm-relabel score --store {word} --name v1"
    told = redacted(f"{command}; redo: '{word}'")
    assert "hun" not in told
    assert "ter2" not in told
    assert "KEY" not in told
    assert told.startswith("vlm-relabel score --store ")
    assert " --name v1; redo: '" in told
    assert redacted(told) == told


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("-- --s3_secret_access_key hunter2 --x 1", "-- --s3_secret_access_key … --x 1"),
        ("-- --s3_session_token=hunter2 --x 1", "-- --s3_session_token=… --x 1"),
        ("-- --password 'hunter 2' --x 1", "-- --password … --x 1"),
        ("--goals 'is it open? yes' --name v1", "--goals 'is it open? yes' --name v1"),
    ],
)
def test_secrets_are_taken_out_of_options_of_others(text: str, told: str) -> None:
    assert redacted(text) == told


def test_a_url_is_no_path() -> None:
    assert is_url("s3://bucket/x")
    assert is_url("S3://bucket/x")
    assert is_url("simplecache::s3://bucket/x")
    assert not is_url("/data/x")
    assert not is_url("s3:/bucket/x")
    assert not is_url("./s3://x")


def test_schemes() -> None:
    assert check_location("S3://bucket/x", ("s3",)) == "s3"
    assert check_location("a/b", ("s3",)) == ""
    with pytest.raises(LocationError, match=r"ftp://h/x: expected a path or s3://, got ftp://"):
        check_location("ftp://h/x", ("s3",))
    with pytest.raises(LocationError, match=r"simplecache::s3://b: .* got simplecache::s3://"):
        check_location("simplecache::s3://b", ("s3",))


@pytest.mark.parametrize("location", ["s3:/bucket/x", "s3:bucket", "gs:/bucket", "file:/data/x"])
def test_a_mistyped_url_is_no_folder_of_that_name(location: str) -> None:
    with pytest.raises(LocationError, match=r"expected a path or s3://; .* is \./"):
        check_location(location, ("s3",))
    assert check_location(f"./{location}", ("s3",)) == ""


@pytest.mark.parametrize("location", ["s3://bucket/run", "gs://bucket/run", "gcs://b/run"])
def test_what_is_local_is_not_put_on_an_object_store(location: str) -> None:
    with pytest.raises(LocationError, match=rf"--out {location}: expected a path on a local disk"):
        local_path("--out", location)


def test_local_paths() -> None:
    assert local_path("--out", "runs/a") == Path("runs/a")
    assert local_path("--out", "file:///runs/a") == Path("/runs/a")
    assert local_path("--out", "FILE:///runs/a") == Path("/runs/a")
    with pytest.raises(LocationError, match=r"file://host/x: expected file:/// and a path"):
        local_path("--out", "file://host/x")
    with pytest.raises(LocationError, match="must not carry keys"):
        local_path("--out", "s3://KEY:SECRET@bucket/run")


def test_paths_of_programs_with_argparse(capsys: pytest.CaptureFixture[str]) -> None:
    parser = ArgumentParser()
    parser.add_argument("--out", type=path_argument)
    assert parser.parse_args(["--out", "runs/a"]).out == Path("runs/a")
    with pytest.raises(SystemExit):
        parser.parse_args(["--out", "s3://bucket/run"])
    told = capsys.readouterr().err
    assert "argument --out: s3://bucket/run: expected a path on a local disk" in told
