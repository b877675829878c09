"""Folders by the workers of a Dask scheduler, all of this machine."""

from __future__ import annotations

import os
import shutil
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from helpers import run_dtalk, speech
from utils.test_jobs import jobs_named, measured

from dtalk.errors import DtalkError
from dtalk.speech.audio import SAMPLE_RATE
from dtalk.utils.jobs import run_elsewhere
from dtalk.utils.open_workers import open_workers
from dtalk.utils.workers import WorkerDied

distributed = pytest.importorskip("distributed", reason="the extra `cluster` is not installed")


@pytest.fixture(scope="module")
def cluster() -> Iterator[str]:
    """The address of a scheduler with two workers, in processes that can import the tests."""
    before = os.environ.get("PYTHONPATH", "")
    tests = Path(__file__).resolve().parents[1]
    os.environ["PYTHONPATH"] = os.pathsep.join([str(tests.parent), str(tests), before])
    try:
        with distributed.LocalCluster(2, threads_per_worker=1, dashboard_address=":0") as local:
            yield local.scheduler_address
    finally:
        os.environ["PYTHONPATH"] = before


def test_a_cluster_gives_what_one_process_gives(cluster, tmp_path, monkeypatch):
    """Also of an input that kills a worker, once or always."""
    monkeypatch.chdir(tmp_path)
    jobs = jobs_named("good", "bad", "deadly", "odd", "once", "another")
    with open_workers(1, cluster) as workers:
        found = {o.job.source.stem: o for o in run_elsewhere(jobs, measured, False, workers)}
    assert list(found) == [job.source.stem for job in jobs]
    assert "deadly.wav: given up after 2 tries: a worker died" in str(found["deadly"].error)
    assert found["bad"].error == "bad.wav holds no sound"
    assert found["odd"].warnings == ("odd.wav is odd",)
    assert [found[name].frames for name in ("good", "odd", "once", "another")] == [4, 3, 4, 7]
    assert all(found[name].error is None for name in ("good", "odd", "once", "another"))


def test_animate_convert_and_their_bytes(cluster, tmp_path, monkeypatch, weights, capsys):
    """Paths may be relative; a poisoned input is named and stops nothing."""
    import soundfile

    monkeypatch.chdir(tmp_path)
    Path("in").mkdir()
    for index in range(3):
        soundfile.write(f"in/{index}.wav", speech(6000, index), SAMPLE_RATE)
    shutil.copy(weights, "tiny.safetensors")
    command = ["animate", "in", "--weights", "tiny.safetensors", "--threads", 1]
    assert run_dtalk(monkeypatch, *command, "-o", "alone") == 0
    Path("in/poison.wav").write_text("no sound")
    assert run_dtalk(monkeypatch, *command, "-o", "together", "--cluster", cluster) == 1
    assert "3 done, 1 failed" in capsys.readouterr().out
    assert run_dtalk(monkeypatch, "convert", "alone", "-o", "csv", "--format", "csv") == 0
    to_csv = ["convert", "together", "-o", "csvs", "--format", "csv", "--cluster", cluster]
    assert run_dtalk(monkeypatch, *to_csv) == 0
    for index in range(3):
        assert Path(f"alone/{index}.npz").read_bytes() == Path(f"together/{index}.npz").read_bytes()
        assert Path(f"csv/{index}.csv").read_bytes() == Path(f"csvs/{index}.csv").read_bytes()


def signed(place: Path) -> None:
    """Add the number of this process to a file's lines."""
    with place.open("a") as file:
        file.write(f"{os.getpid()}\n")


@pytest.mark.parametrize("pause", [0.0, 1.0])
def test_what_is_lost_with_a_worker_is_not_done_again_unasked(cluster, tmp_path, pause):
    """The worker dies after its task, before the result is fetched: has just died, or long ago."""
    place = tmp_path / "done"
    with open_workers(1, cluster) as workers:
        first = workers.submit(signed, place)
        workers.wait([first])
        os.kill(int(place.read_text()), signal.SIGKILL)
        time.sleep(pause)
        with pytest.raises(WorkerDied, match="a worker died with what it had done"):
            workers.result(first)
        assert len(place.read_text().splitlines()) == 1
        workers.result(workers.submit(signed, place))
    assert len(place.read_text().splitlines()) == 2


def refused(address: str) -> str:
    """Why the workers at an address are not used."""
    with pytest.raises(DtalkError) as caught, open_workers(1, address):
        pass
    return str(caught.value)


@pytest.mark.parametrize("address", ["tcp://127.0.0.1:9", "nonsense://x"])
def test_no_scheduler(monkeypatch, address):
    monkeypatch.setattr("dtalk.utils.dask_workers.ANSWER", 0.5)
    assert refused(address).startswith(f"no Dask scheduler answers at {address}: ")


def test_workers_of_several_threads():
    with distributed.LocalCluster(
        1, threads_per_worker=2, processes=False, dashboard_address=":0"
    ) as local:
        assert "start workers with --nthreads 1" in refused(local.scheduler_address)


def test_a_scheduler_without_workers(monkeypatch):
    monkeypatch.setattr("dtalk.utils.dask_workers.JOIN", 0.5)
    scheduler = {"cls": distributed.Scheduler, "options": {"port": 0, "dashboard": False}}
    with distributed.SpecCluster({}, scheduler) as alone:
        assert refused(alone.scheduler_address).startswith("no worker has joined tcp://")


def test_a_folder_that_workers_do_not_have(cluster, tmp_path, monkeypatch):
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    with open_workers(1, cluster) as workers:
        gone.rmdir()
        monkeypatch.setattr("os.getcwd", lambda: str(gone))
        found = run_elsewhere(jobs_named("good"), measured, False, workers)
        with pytest.raises(DtalkError, match="has no folder"):
            next(found)
