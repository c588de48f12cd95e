"""Writes the figures of measure.py into docs/performance.md, between its markers, and draws the picture.

    report.py FIGURES PAGE PICTURE
"""

import json
import math
import pathlib
import re
import sys

import plot

BASELINE = pathlib.Path(__file__).resolve().parents[1] / "regressions/baseline.txt"
OURS = {"tracker": "`Tracker`", "async": "`AsyncTracker`", "recorder": "`Recorder`"}
DJANGO = ("django-pymemcache", "django-pylibmc")
WORKS = ("set", "get", "many of 100", "many of 500")
SITES = {
    "axum without": "axum",
    "axum control": "axum again: the control",
    "axum layer": "**axum with `SeenLayer`**",
    "axum idle": "axum with `SeenLayer` that is told of nobody",
    "axum async": "axum, `AsyncTracker::seen` in each request",
    "axum blocking": "axum, `Tracker::seen` in each request, blocking",
    "django without": "Django",
    "django control": "Django again: the control",
    "django PyMemcacheCache": "Django with the post's middleware, PyMemcacheCache",
    "django PyLibMCCache": "Django with the post's middleware, PyLibMCCache",
}


def main():
    figures, page, picture = map(pathlib.Path, sys.argv[1:])
    figures = json.loads(figures.read_text())
    text = page.read_text()
    for name, block in (("machine", machine), ("goals", goals), ("calls", calls), ("http", http)):
        begin, end = f"<!-- {name}: written by benches/compare/run -->\n", f"<!-- {name}: end -->"
        pattern = re.compile(re.escape(begin) + ".*?" + re.escape(end), re.S)
        if len(pattern.findall(text)) != 1:
            sys.exit(f"{page}: one block {begin!r} is needed")
        written = begin + "\n".join(block(figures)) + "\n" + end
        text = pattern.sub(lambda _: written, text)
    page.write_text(text)
    picture.write_text(plot.drawing(columns(figures), sites(figures)))


def machine(figures):
    machine = figures["machine"]
    versions = [f"memcached {machine['memcached']}", f"rustc {machine['rustc']}", f"gunicorn {machine['gunicorn']}"]
    names = figures["calls"]["names"].items()
    versions += [name for side, name in names if side not in OURS and "memcache::" not in name]
    yield f"{machine['cores']} shared cores ({machine['cpu']}), Linux {machine['kernel']}, {machine['date']};"
    yield "; ".join(versions) + "."


def goals(figures):
    counts = BASELINE.read_text().partition("[system calls]\n")[2].partition("\n\n")[0]
    system_calls = dict(reversed(line.split(maxsplit=1)) for line in counts.splitlines())
    ratio = lambda work, cores, side="tracker": figures["calls"][work][cores][side]["ratio"]
    recorder, sites = figures["recorder"], figures["http"]

    def row(what, *claims):
        """Each claim: the goal, the figure, and whether the one meets the other."""
        goals, shown, met = zip(*claims)
        missed = [goal for goal, ok in zip(goals, met) if not ok]
        verdict = "met" if not missed else "**missed**" + ("" if not any(met) else ": " + "; ".join(missed))
        return f"| {what} | {'; '.join(goals)} | {'; '.join(shown)} | {verdict} |"

    def limit(work, cores, most):
        figure = ratio(work, cores)
        return f"≤ {most} x in {cores}", f"{figure:.2f} x", figure <= most

    def calls_of(subject, most):
        count = float(system_calls[f"{subject}, a memcached"])
        goal = f"≤ {most} system calls" if most else "no system call"
        return goal, f"{count:g}" if count else "none", count <= most

    def nanoseconds(name, most, what="median"):
        figure = recorder[f"{name}, {what}"]
        goal = f"p99 ≤ {most // 1000} µs" if what == "p99" else f"≤ {most} ns"
        return goal, f"{figure:.0f} ns", figure <= most

    yield "| | goal | here | |"
    yield "| --- | --- | --- | --- |"
    yield row("`Tracker::seen`", limit("set", "A", 1.5), limit("set", "B", 1.25), calls_of("seen", 10))
    yield row("`Tracker::last_seen`", limit("get", "A", 1.5), limit("get", "B", 1.25), calls_of("last_seen", 10))
    one = system_calls["presences of 100, a memcached"] == system_calls["last_seen, a memcached"]
    trip = ("one round trip", "as many system calls as for one user" if one else "more system calls", one)
    yield row("`presences` of 100, against one `get`", trip, limit("many of 100", "A", 3))
    yield row("`presences` of 500, against one `get`", limit("many of 500", "A", 4))
    hot = [nanoseconds(f"1,000 hot users, {threads}", 100) for threads in ("1 thread", "2 threads")]
    hot = [(goal + then, figure, met) for (goal, figure, met), then in zip(hot, (", one thread", ", two"))]
    hot.append(nanoseconds("1,000 hot users, 1 thread", 2_000, "p99"))
    yield row("`Recorder::seen`, user already pending", *hot, calls_of("Recorder::seen of a pending user", 0))
    random = "50,000 random users"
    yield row(f"`Recorder::seen`, {random}", nanoseconds(random, 400), nanoseconds(random, 2_000, "p99"))
    rate = recorder["rate"]
    shown = f"{rate:,.0f}, {recorder['by raw']:.1f} x the time of raw `noreply` batches of 64"
    yield row("recorder to memcached, one writer", ("≥ 200,000 users/s", shown, rate >= 200_000))
    grown = max(0, recorder["grown"])
    bounded = ("memory bounded, drops counted", f"{grown:.0f} KiB more for users that are pending", grown < 1024)
    yield row("the same with memcached stopped", nanoseconds(f"{random}, memcached stopped", 2_000, "p99"), bounded)
    layer, control = sites["axum layer"]["ratio"], sites["axum control"]["ratio"]
    kept = f"{layer:.2f} (control {control:.2f})"
    yield row("axum with the layer, requests/s of axum without", ("≥ 0.95 beside a control", kept, layer >= 0.95))
    behind = {
        work: [ratio(work, cores, side) / ratio(work, cores) for side in DJANGO for cores in "AB"] for work in WORKS[:3]
    }
    shown = ", ".join(f"{work} {min(by):.1f} to {max(by):.1f} x ours" for work, by in behind.items())
    ahead = all(min(by) > 1 for by in behind.values())
    yield row("Django's two memcached backends, the same work", ("behind in set, get and many", shown, ahead))


def order(figures):
    """The sides, the fastest first."""

    def mean(side):
        of = [figures["calls"][work]["A"].get(side) for work in WORKS[:3]]
        ratios = [figure["ratio"] for figure in of if figure]
        return math.prod(ratios) ** (1 / len(ratios))

    return sorted(figures["calls"]["names"], key=mean)


def label(figures, side):
    return OURS.get(side, figures["calls"]["names"][side])


def calls(figures):
    yield "| | " + " | ".join(f"{work}, {cores}" for work in WORKS for cores in "AB") + " |"
    yield "| --- |" + " ---: |" * (2 * len(WORKS))
    micros = (figures["calls"][work][cores]["raw"]["µs"] for work in WORKS for cores in "AB")
    yield "| a raw socket | " + " | ".join(f"{figure:.0f} µs" for figure in micros) + " |"
    for side in order(figures):
        cells = []
        for work in WORKS:
            for cores in "AB":
                figure = figures["calls"][work][cores].get(side)
                ratio = figure and figure["ratio"]
                digits = 1 if ratio and ratio >= 9.95 else 2
                cells.append("" if not figure else f"{ratio:.{digits}f}" if ratio >= 0.1 else f"{ratio:.3f}")
        name = label(figures, side)
        yield f"| {f'**{name}**' if side in OURS else name} | " + " | ".join(cells) + " |"


def http(figures):
    yield "| | requests/s | of the same site without (the middle half of the rounds) |"
    yield "| --- | ---: | ---: |"
    for name, what in SITES.items():
        of = figures["http"][name]
        share = "" if name.endswith("without") else f"{of['ratio']:.2f} ({of['low']:.2f} to {of['high']:.2f})"
        yield f"| {what} | {of['rate']:,.0f} | {share} |"


def columns(figures):
    """For the picture: what is done, and each side with its ratio, on one core."""
    what = {"set": "note one user", "get": "ask for one user", "many of 100": "a page of 100 users"}
    rows = []
    for side in order(figures):
        # Without the library's or the language's version, which the page has.
        name = re.sub(r" \(.*|(?<=\w) [\d.]+", "", label(figures, side)).strip("`")
        of = [figures["calls"][work]["A"].get(side) for work in what]
        name = {"memcached": "Node memcached"}.get(name, name)
        rows.append((name, side in OURS, [figure and figure["ratio"] for figure in of]))
    return list(what.values()), rows


def sites(figures):
    names = {
        "axum layer": "axum, SeenLayer",
        "axum async": "axum, AsyncTracker in each request",
        "axum blocking": "axum, Tracker in each request",
        "django PyMemcacheCache": "Django, the post's middleware",
        "django PyLibMCCache": "the same on PyLibMCCache",
    }
    return [(what, name == "axum layer", figures["http"][name]["ratio"]) for name, what in names.items()]


main()
