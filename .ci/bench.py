"""Measures `microserve convert` beside other programs, as whole processes, in turns.

Called by `.ci/bench` with the folder that cargo builds into, and how often each is run. Prints Markdown.
"""

import os
import platform
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

TARGET = Path(sys.argv[1])
ROUNDS = int(sys.argv[2]) if len(sys.argv) > 2 else 3
WORK = TARGET / "bench"
OURS = TARGET / "release" / "microserve"
FFMPEG = ["ffmpeg", "-nostdin", "-y", "-loglevel", "error"]
MUSIC_MINUTES = 10


@dataclass
class Run:
    """What one process and those that it waited for took."""

    wall: float  # seconds
    cpu: float  # seconds, of user and system
    memory: float  # MiB, resident, of the largest process


@dataclass
class Contest:
    title: str
    ours: list[str]
    theirs: dict[str, list[str]]
    # Both are run so many times at once.
    at_once: int = 1
    rounds: int = ROUNDS


def run(command: list[str], at_once: int = 1) -> Run:
    started = time.monotonic()
    children = []
    for n in range(at_once):
        own = [part.replace("#", str(n)) for part in command]
        children.append(subprocess.Popen(own, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL))
    cpu, memory = 0.0, 0.0
    for child in children:
        _, status, usage = os.wait4(child.pid, 0)
        child.returncode = os.waitstatus_to_exitcode(status)
        if child.returncode != 0:
            sys.exit(f"{command} failed with {child.returncode}")
        cpu += usage.ru_utime + usage.ru_stime
        memory = max(memory, usage.ru_maxrss / 1024)
    return Run(time.monotonic() - started, cpu, memory)


def make(name: str, *arguments: str) -> str:
    """A file that ffmpeg makes, once."""
    path = WORK / name
    if not path.exists():
        part = WORK / ("part." + name)
        subprocess.run([*FFMPEG, *arguments, str(part)], check=True, stdin=subprocess.DEVNULL)
        part.rename(path)
    return name


def music() -> str:
    """Chords of decaying sines that wander through a scale, a noisy beat on top; each minute is another one."""
    if not (WORK / "music.wav").exists():
        lines = []
        for minute in range(MUSIC_MINUTES):
            note = f"110*pow(2\\,floor(mod((floor(t*2)+{minute}*7)*5\\,24))/12)"
            fade = "exp(-2*mod(t\\,0.5))"
            sines = "+".join(
                f"{level}*sin(2*PI*{note}*{factor}*t)" for level, factor in ((1, 1), (1, 1.26), (0.7, 1.498), (0.4, 4.01))
            )
            beat = f"0.15*(2*random({minute})-1)*exp(-20*mod(t\\,0.25))"
            hiss = f"0.01*(2*random({minute + 20})-1)"
            chord = f"0.25*{fade}*({sines})"
            sound = f"aevalsrc=exprs='0.8*{chord}+{beat}+{hiss}|0.7*{chord}-{beat}+{hiss}':sample_rate=44100"
            lines.append("file " + make(f"minute{minute}.wav", "-f", "lavfi", "-i", sound, "-t", "60"))
        (WORK / "minutes.txt").write_text("\n".join(lines))
        make("music.wav", "-f", "concat", "-i", "minutes.txt", "-c", "copy")
    return "music.wav"


def speech() -> str:
    """A synthetic voice that reads for ten minutes."""
    if not (WORK / "speech.wav").exists():
        text = " ".join(
            f"Chapter {n}. The number {n * 7919} has nothing to tell us, so the reader goes on to the next one, slowly and clearly."
            for n in range(1, 200)
        )
        subprocess.run(["espeak-ng", "-w", str(WORK / "voice.wav"), text], check=True)
        make("speech.wav", "-stream_loop", "-1", "-i", "voice.wav", "-t", "600")
    return "speech.wav"


def picture(*sound: str) -> list[str]:
    """Arguments that put a small picture beside a sound."""
    return ["-f", "lavfi", "-i", "testsrc2=size=320x180:rate=10", *sound, "-map", "0:v", "-map", "1:a", "-shortest"]


def video(name: str, sound: str, codecs: str, *before: str) -> str:
    return make(name, *picture(*before, "-i", sound), *codecs.split())


H264 = "-c:v libx264 -preset ultrafast -crf 30"


def contests() -> list[Contest]:
    def ours(source: str, *options: str) -> list[str]:
        return [str(OURS), "convert", source, "ours#.mp3", "--force", "--quiet", *options]

    def ffmpeg(source: str, *options: str) -> list[str]:
        return [*FFMPEG, "-i", source, "-vn", "-c:a", "libmp3lame", *options, "theirs#.mp3"]

    def pair(title: str, source: str, **more: int) -> Contest:
        return Contest(title, ours(source, "--bitrate", "192"), {"ffmpeg": ffmpeg(source, "-b:a", "192k")}, **more)

    sound = music()
    aac = video("music.mp4", sound, f"{H264} -c:a aac -b:a 160k")
    first = pair("AAC in MP4, 10 min of music", aac)
    first.theirs["lame, fed by ffmpeg"] = [
        "sh",
        "-c",
        f"ffmpeg -nostdin -loglevel error -i {aac} -vn -f wav - | lame --quiet -q 3 -b 192 - theirs#.mp3",
    ]
    first.theirs["moviepy"] = [
        sys.executable,
        "-c",
        "from moviepy import VideoFileClip as V;"
        f" V('{aac}').audio.write_audiofile('theirs#.mp3', bitrate='192k', logger=None)",
    ]
    opus = video("music.webm", sound, "-c:v libvpx -deadline realtime -cpu-used 8 -c:a libopus -b:a 128k", "-t", "300")
    surround = "-af pan=5.1|FL=c0|FR=c1|FC=0.5*c0+0.5*c1|LFE=0.1*c0|BL=0.4*c0|BR=0.4*c1"
    ac3 = video("music.mkv", sound, f"{H264} {surround} -c:a ac3 -b:a 448k", "-t", "300")
    ts = video("music.ts", sound, f"{H264} -c:a aac -b:a 160k", "-t", "300")
    voice = video("speech.mp4", speech(), f"{H264} -c:a aac -b:a 64k")
    mp3 = video("mp3.mp4", sound, f"{H264} -c:a libmp3lame -b:a 192k")
    hour = make("hour.mp4", "-stream_loop", "5", "-i", aac, "-c", "copy")
    short = make("short.mp4", "-i", aac, "-t", "120", "-c", "copy")
    return [
        first,
        pair("Opus in WebM, 5 min of music", opus),
        pair("AC-3 5.1 in Matroska, 5 min of music", ac3),
        pair("AAC in MPEG-TS, 5 min of music", ts),
        Contest(
            "AAC in MP4, 10 min of speech, mono at 64 kbit/s",
            ours(voice, "--preset", "voice"),
            {"ffmpeg": ffmpeg(voice, "-ac", "1", "-b:a", "64k")},
        ),
        Contest("MP3 in MP4, 10 min, copied", ours(mp3), {"ffmpeg, encoding": ffmpeg(mp3, "-b:a", "192k")}),
        pair("AAC in MP4, an hour", hour, rounds=1),
        pair("AAC in MP4, 8 files of 2 min at once", short, at_once=8),
    ]


def measure(contest: Contest) -> dict[str, tuple[list[Run], list[Run]]]:
    """Of each other program: its runs, and ours beside them."""
    run(contest.ours)  # the file is in the page cache now, for all
    results: dict[str, tuple[list[Run], list[Run]]] = {name: ([], []) for name in contest.theirs}
    for _ in range(contest.rounds):
        ours = run(contest.ours, contest.at_once)
        for name, command in contest.theirs.items():
            results[name][0].append(run(command, contest.at_once))
            results[name][1].append(ours)
    return results


def row(title: str, theirs: list[Run], ours: list[Run]) -> str:
    cells = [title]
    for attribute, unit in (("wall", "s"), ("cpu", "s"), ("memory", "MiB")):
        us, them = ([getattr(run, attribute) for run in runs] for runs in (ours, theirs))
        ratios = [a / b for a, b in zip(us, them)]
        spread = f" ({min(ratios):.2f}–{max(ratios):.2f})" if len(ratios) > 1 else ""
        digits = 0 if attribute == "memory" else 2
        cells.append(f"{statistics.median(us):.{digits}f}, {statistics.median(them):.{digits}f} {unit}")
        cells.append(f"**{statistics.median(ratios):.3g}**{spread}")
    return "| " + " | ".join(cells) + " |"


def chart(bars: list[tuple[str, float, float]]) -> None:
    import matplotlib

    matplotlib.use("svg")
    matplotlib.rcParams.update({"svg.hashsalt": "bench", "font.family": "sans-serif", "font.size": 9})
    from matplotlib import pyplot

    figure, axes = pyplot.subplots(figsize=(8, 0.55 * len(bars) + 1), layout="constrained")
    names, walls, cpus = zip(*reversed(bars))
    places = range(len(names))
    axes.barh([p + 0.2 for p in places], walls, 0.36, label="wall clock", color="#1f6f8b")
    axes.barh([p - 0.2 for p in places], cpus, 0.36, label="CPU", color="#99c1cf")
    for p, wall, cpu in zip(places, walls, cpus):
        axes.text(wall + 0.01, p + 0.2, f"{wall:.2f}", va="center", fontsize=8)
        axes.text(cpu + 0.01, p - 0.2, f"{cpu:.2f}", va="center", fontsize=8)
    axes.axvline(1, color="#888888", linewidth=1)
    axes.set_yticks(places, names)
    axes.set_xlabel("time of microserve, where 1 is the other's")
    axes.set_xlim(0, max(walls + cpus) + 0.1)
    figure.legend(loc="outside upper right", ncols=2, frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    figure.savefig("BENCHMARKS.svg", metadata={"Date": None, "Creator": None})


def says(command: list[str]) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()[0]


def main() -> None:
    project = Path.cwd()
    WORK.mkdir(parents=True, exist_ok=True)
    commit = says(["git", "rev-parse", "--short", "HEAD"])
    os.chdir(WORK)
    listed = contests()
    model = next((line.split(": ")[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), "?")
    ffmpeg, lame = says(["ffmpeg", "-version"]).split(" Copyright")[0], says(["lame", "--version"])
    # Not imported here: a child has its parent's memory before it runs its program, and would be said to need that much.
    moviepy = says([sys.executable, "-c", "import moviepy; print(moviepy.__version__)"])
    print(f"`make bench`, {time.strftime('%Y-%m-%d', time.gmtime())}, {commit}\n")
    print(f"- {os.cpu_count()} processors, {model}, {platform.system()} {platform.release().split('-')[0]}")
    print(f"- {says([str(OURS), '--version'])}, {says(['rustc', '--version'])}")
    print(f"- {ffmpeg}; {lame.split(' (')[0]}; moviepy {moviepy}\n")
    print("| | wall clock: ours, theirs | ratio | CPU: ours, theirs | ratio | peak memory: ours, theirs | ratio |")
    print("|---|---|---|---|---|---|---|")
    bars = []
    for contest in listed:
        for name, (theirs, ours) in measure(contest).items():
            print(row(f"{contest.title}; beside {name}", theirs, ours), flush=True)
            ratio = lambda of: statistics.median(getattr(a, of) / getattr(b, of) for a, b in zip(ours, theirs))
            bars.append((f"{contest.title}\nbeside {name}", ratio("wall"), ratio("cpu")))
    tiny = make("tiny.mp4", "-i", "short.mp4", "-t", "1", "-c", "copy")
    base = run([str(OURS), "convert", tiny, "ours#.mp3", "--force", "--quiet", "--bitrate", "192"]).memory
    print(f"\nA file of one second takes {base:.1f} MiB, which is what the process itself needs.")
    os.chdir(project)
    chart(bars)


main()
