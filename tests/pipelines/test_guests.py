"""Stages in processes of others: what they must see, and that each is opened once."""

from __future__ import annotations

import os
import shutil
import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from pipelines import guests
from pipelines.elsewhere import with_absolute_places
from pipelines.guests import Guest, check_seen
from pipelines.transforms import _AsGuest
from relabel.encoders.open_clip_loader import OpenClipLoader
from relabel.jobs import run
from relabel.jobs.options import JobOptions, RunOptions
from relabel.jobs.work import EmbedWork, Engine, Work
from relabel.jobs.workers import SharedEncoder, load_for
from relabel.testing import load_pixel_mean_encoder
from schemas.errors import EncoderError, WorkerError
from schemas.store import STORE_MANIFEST, Store
from tests.pipelines.job_options import Embedding, Scoring


@pytest.fixture
def work(job: JobOptions, embedding: Embedding, scoring: Scoring) -> Work:
    """Of a `relabel`, with its tables begun and nothing done."""
    kept: list[Work] = []

    def keep(work: Work, options: RunOptions) -> dict[str, float]:
        kept.append(work)
        raise EncoderError("not today")

    with pytest.raises(EncoderError, match="not today"):
        run.relabel(job, embedding(), scoring(), Engine("nobody", keep))
    return kept[0]


@pytest.fixture(autouse=True)
def nothing_open(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(guests, "_OPENED", {})


def test_a_process_that_sees_everything_may_begin(work: Work) -> None:
    for stage in work.stages:
        check_seen(stage)


def test_a_path_that_leads_nowhere_is_named_with_the_process(work: Work, tmp_path: Path) -> None:
    assert work.embed is not None
    gone = str(tmp_path / "gone")
    cases = {
        "--store": replace(work.embed, store=gone),
        "--source": replace(work.embed, source=gone),
        "--encoder": replace(
            work.embed, encoder=SharedEncoder(OpenClipLoader(f"local-dir:{gone}"))
        ),
    }
    for option, stage in cases.items():
        with pytest.raises(WorkerError) as caught:
            check_seen(stage)
        said = str(caught.value)
        assert said.startswith(f"{option} {gone}: the worker process {os.getpid()} on ")
        assert "sees nothing there; every worker needs it at the same path" in said


def test_a_relative_path_is_refused(
    work: Work, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    monkeypatch.chdir(tmp_path)
    assert work.score is not None
    with pytest.raises(WorkerError, match=r"^--store store: expected an absolute path or a URL"):
        check_seen(replace(work.score, store="store"))


def test_another_store_at_the_same_path_is_refused(work: Work, tmp_path: Path) -> None:
    assert work.score is not None
    other = tmp_path / "other"
    other.mkdir()
    shutil.copy(Path(work.score.store) / STORE_MANIFEST, other)
    with pytest.raises(WorkerError, match=r"sees another store there, without rewards/v1"):
        check_seen(replace(work.score, store=str(other)))


def test_places_become_absolute(work: Work, monkeypatch: pytest.MonkeyPatch) -> None:
    assert work.embed is not None
    store, source = Path(work.embed.store), Path(work.embed.source)
    monkeypatch.chdir(store.parent)
    encoder = SharedEncoder(OpenClipLoader("local-dir:my_encoder"))
    relative: dict[str, Any] = {"store": store.name}
    told = Work(
        slices=work.slices,
        finish=replace(work.finish, **relative),
        embed=replace(work.embed, **relative, source=os.path.relpath(source), encoder=encoder),
        score=work.score and replace(work.score, **relative),
    )
    found = with_absolute_places(told)
    assert {stage.store for stage in found.stages} == {found.finish.store} == {str(store)}
    assert found.embed is not None
    assert Path(found.embed.source).is_absolute()
    assert Path(found.embed.source).resolve() == source.resolve()
    assert found.embed.encoder is not None
    assert found.embed.encoder.path == str(store.parent / "my_encoder")
    urls = replace(told, embed=None, score=None, finish=replace(told.finish, store="s3://b/x"))
    assert with_absolute_places(urls).finish.store == "s3://b/x"


def test_a_stage_is_opened_once_for_all_tasks_of_a_job(
    work: Work, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert work.embed is not None
    stage, opened = work.embed, []
    monkeypatch.setattr(EmbedWork, "open", lambda own: opened.append(own) or len(opened))
    one, other = Guest(), Guest()
    with ThreadPoolExecutor(4) as pool:
        assert set(pool.map(lambda _: one.opened(stage), range(8))) == {1}
    assert other.opened(stage) == 2
    assert one.opened(stage) == 1, "two jobs at once do not drive each other out"
    monkeypatch.setattr(guests, "_KEPT_S", -1.0)
    assert Guest().opened(stage) == 3
    assert one.opened(stage) == 4, "it was let go of when another job began"


def test_a_process_with_several_threads_does_one_thing_at_a_time(work: Work) -> None:
    assert work.embed is not None
    at_once: list[int] = []
    inside = threading.Semaphore(1)

    class Watching:
        def process(self, pieces: Any) -> Any:
            at_once.append(int(inside.acquire(blocking=False)))
            threading.Event().wait(0.01)
            inside.release()
            return iter(())

    task = _AsGuest(work.embed, Guest())
    task._worker = Watching()
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(lambda _: list(task.process(())), range(8)))
    assert at_once == [1] * 8


# --- a device that the submitter lacks


@pytest.fixture
def no_gpu(monkeypatch: pytest.MonkeyPatch) -> None:
    from relabel.encoders import device

    monkeypatch.setattr(
        device, "_device_problem", lambda d: None if d.type == "cpu" else "there is none"
    )


@pytest.mark.usefixtures("no_gpu")
@pytest.mark.parametrize(("asked", "precision"), [("auto", "float16"), ("float32", "float32")])
def test_a_device_of_the_workers_need_not_be_here(
    tiny_model: str, asked: str, precision: str
) -> None:
    load = OpenClipLoader(tiny_model, "cuda:1", asked)
    with pytest.raises(EncoderError, match="there is none"):
        load_for(load, elsewhere=False)
    here, shared = load_for(load, elsewhere=True)
    assert (str(here.device), here.spec.precision) == ("cpu", precision)
    assert shared.load == OpenClipLoader(tiny_model, "cuda:1", precision)
    assert shared.planned == here.spec
    with pytest.raises(EncoderError, match="there is none"):
        shared.acquire()  # as a worker does: it is the one that must have it


def test_a_device_that_is_not_known_is_refused_at_once(tiny_model: str) -> None:
    with pytest.raises(EncoderError, match="expected auto, cpu, cuda, cuda:N or mps"):
        load_for(OpenClipLoader(tiny_model, "gpu"), elsewhere=True)


def test_an_encoder_without_a_device_is_the_same_everywhere() -> None:
    here, shared = load_for(load_pixel_mean_encoder, elsewhere=True)
    assert shared.acquire() is here


def test_a_store_with_a_begun_table_is_recognised(work: Work) -> None:
    """The check can tell: without its plan, a table is unknown to the store."""
    assert work.score is not None
    store = Store.open(work.score.store)
    assert all(store.recorded(table) is not None for table in work.score.written)
    assert store.recorded("rewards/none") is None
