"""What many hours of audio cost on a cluster: measured on one machine, then by simulation::

    python examples/cluster/cost.py --folder /tmp/cost [--tasks 10000 --hours 10000]

Work is measured in seconds of one core (of all threads and of ffmpeg), which other programs on the
machine hardly change; the scheduler by a run of tiny tasks with two workers. The table holds for
machines like this one and clips of ``--clip`` seconds.
"""

from __future__ import annotations

import argparse
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import psutil
import soundfile
from killed_worker import SPEECH, cluster
from throughput import done

from dtalk.cli.export_jobs import AnimateJob
from dtalk.config import EngineOptions
from dtalk.heads.export import Exporter
from dtalk.speech.audio import SAMPLE_RATE, load_audio
from dtalk.utils.jobs import Job
from dtalk.utils.open_workers import open_workers
from dtalk.utils.workers import in_order
from dtalk.video.render_job import RenderJob

HOUR = 3600.0
MEGA = 1e6
CORES = (8, 64, 512)
WORKERS = 2  # in the run of tiny tasks
OVERHEAD = 0.05  # of a core's time, at most


@dataclass(frozen=True)
class Work:
    """What an hour of audio takes: seconds of one core, bytes read and written."""

    name: str
    seconds: float
    read: float
    written: float


@dataclass(frozen=True)
class Scheduler:
    """What a task costs beside its work, in seconds.

    latency: until a worker that is done has its next task; busiest: of the one process, client or
    scheduler, that limits how many tasks can be handed out.
    """

    latency: float
    busiest: float


def main() -> None:
    """Measure, and print the tables."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="a new folder for everything")
    parser.add_argument("--tasks", type=int, default=10000)
    parser.add_argument("--hours", type=float, default=10000)
    parser.add_argument("--clip", type=float, default=10, help="seconds of a clip")
    parser.add_argument("--size", type=int, default=512)
    given = parser.parse_args()
    given.folder.mkdir(parents=True)
    works = measured_works(given.folder, given.clip, given.size)
    for work in works:
        print(
            f"{work.name}: {work.seconds:.0f} s of one core an hour of audio, "
            f"{work.read / MEGA:.0f} MB in, {work.written / MEGA:.1f} MB out"
        )
    scheduler = measured_scheduler(given.folder, given.tasks)
    print(
        f"{given.tasks} tiny tasks: {1000 * scheduler.latency:.1f} ms until a worker's next one, "
        f"{1000 * scheduler.busiest:.2f} ms of the busier of client and scheduler"
    )
    print(f"start of a process: {start_of_a_process():.1f} s")
    for work in works:
        print(f"\n{work.name}, {given.hours:g} hours in clips of {given.clip:g} s")
        print("cores  days  overhead  MB/s in  MB/s out  limit            audio a task")
        for cores in CORES:
            print(table_row(work, scheduler, cores, given.clip, given.hours))


def measured_works(folder: Path, seconds: float, size: int) -> list[Work]:
    """Animate and render a clip on this core, after a short one that loads what is needed."""
    speech, short = folder / "speech.wav", folder / "short.wav"
    samples = load_audio(SPEECH)[: round(seconds * SAMPLE_RATE)]
    soundfile.write(speech, samples, SAMPLE_RATE)
    soundfile.write(short, samples[:SAMPLE_RATE], SAMPLE_RATE)
    animate = AnimateJob(EngineOptions(threads=1), Exporter()).make
    render = RenderJob(size=size).make
    hours = len(samples) / SAMPLE_RATE / HOUR
    found = []
    for name, make, source, suffix in (
        ("animate", animate, speech, ".npz"),
        (f"render at {size}", render, speech.with_suffix(".npz"), ".mp4"),
    ):
        make(Job(short.with_suffix(source.suffix), (short.with_suffix(suffix),)))
        made = speech.with_suffix(suffix)
        taken = core_seconds(lambda: make(Job(source, (made,))))  # noqa: B023
        # A video needs the sound beside its motion.
        read = speech.stat().st_size + (source.stat().st_size if source != speech else 0)
        found.append(Work(name, taken / hours, read / hours, made.stat().st_size / hours))
    return found


def core_seconds(work: Callable[[], object]) -> float:
    """Time of cores that some work takes in this process and those it starts and ends."""
    before = os.times()
    work()
    after = os.times()
    return sum(after[:4]) - sum(before[:4])


def measured_scheduler(folder: Path, tasks: int) -> Scheduler:
    """Let two workers do tiny tasks, as files are handed out."""
    with cluster(folder, WORKERS) as (address, running), open_workers(1, address) as workers:
        while workers.count() < WORKERS:
            time.sleep(0.2)
        list(in_order(workers, abs, range(10)))
        scheduler = psutil.Process(running[0].pid)
        before, own = sum(scheduler.cpu_times()[:2]), time.process_time()
        started = time.perf_counter()
        list(in_order(workers, abs, range(tasks), chunk_seconds=0))
        taken = time.perf_counter() - started
        client = time.process_time() - own
        served = sum(scheduler.cpu_times()[:2]) - before
    return Scheduler(WORKERS * taken / tasks, max(client, served) / tasks)


def start_of_a_process() -> float:
    """Seconds until a process has loaded what animating needs."""
    load = "import dtalk.inference as i; i.shared_model(i.RuntimeOptions())"
    return done([sys.executable, "-c", load])


def table_row(work: Work, scheduler: Scheduler, cores: int, clip: float, hours: float) -> str:
    """Compute days, share of overhead, bytes a second and the limit, for a number of cores."""
    tasks, each = hours * HOUR / clip, work.seconds * clip / HOUR
    by_cores = (each + scheduler.latency) / cores
    taken = tasks * max(by_cores, scheduler.busiest)
    overhead = 1 - tasks * each / cores / taken
    limit = "cores" if by_cores >= scheduler.busiest else "client, scheduler"
    # So long a task that waiting is 5 % of a core's time, and handing out keeps up with all cores.
    least = max(scheduler.latency * (1 - OVERHEAD) / OVERHEAD, cores * scheduler.busiest)
    audio = least / work.seconds * HOUR
    rates = [amount * hours / taken / MEGA for amount in (work.read, work.written)]
    return (
        f"{cores:5}  {taken / 86400:4.1f}  {100 * overhead:6.1f} %  {rates[0]:7.1f}  "
        f"{rates[1]:8.1f}  {limit:17}{audio:6.1f} s"
    )


if __name__ == "__main__":
    main()
