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
# Their versions stand in Cargo.lock.
RUST = {*OURS, "ascii", "binary", "meta", "async-memcached"}
# Each with the goal, if there is one; as the bench `recorder` has them.
DRAINS = {
    "whose record exists": 500_000,
    "whom another process has written that second": 1_200_000,
    "without a record": None,
}
WORKS = ("set", "get", "many of 100", "many of 500")
SITES = {
    "axum without": "axum",
    "axum control": "axum again: the control",
    "axum layer": "**axum with `SeenLayer`**",
    "axum idle": "axum with `SeenLayer`, no user in the request",
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
    for block in (machine, goals, calls, tokio, servers, transports, allocations, http):
        name = block.__name__
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
    versions += [name for side, name in names if side not in RUST]
    yield f"{machine['cores']} shared cores ({machine['cpu']}), Linux {machine['kernel']}, {machine['date']};"
    yield "; ".join(versions) + "."


def goals(figures):
    counts = BASELINE.read_text().partition("[system calls]\n")[2].partition("\n\n")[0]
    system_calls = dict(reversed(line.split(maxsplit=1)) for line in counts.splitlines())
    recorder, sites = figures["recorder"], figures["http"]

    def row(what, *claims):
        """Each claim: the goal, the figure, and whether the one meets the other."""
        goals, shown, met = zip(*claims)
        missed = [goal for goal, ok in zip(goals, met) if not ok]
        verdict = "met" if not missed else "**missed**" + ("" if not any(met) else ": " + "; ".join(missed))
        return f"| {what} | {'; '.join(goals)} | {'; '.join(shown)} | {verdict} |"

    def limits(works, in_a, in_b, section="calls", side="tracker"):
        for work in works:
            for cores, most in (("A", in_a), ("B", in_b)):
                figure = figures[section][work][cores][side]["ratio"]
                goal = f"≤ {most:.2f} x in {cores}"
                yield f"{work}: {goal}" if len(works) > 1 else goal, f"{figure:.2f} x", figure <= most

    def allocations_of(subject, most, beside=0):
        """`beside` what is returned."""
        count = figures["allocations"][subject] - beside
        return f"≤ {most} allocations" + (" beside the result" if beside else ""), f"{count}", count <= most

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
    for verb, work in (("seen", "set"), ("last_seen", "get")):
        counted = calls_of(verb, 2), allocations_of(verb, 2)
        yield row(f"`Tracker::{verb}`", *limits([work], 1.1, 1.05), *counted)
    for page, in_a, in_b in ((100, 1.25, 1.15), (500, 1.35, 1.25)):
        ratios = limits([f"many of {page}"], in_a, in_b)
        counted = [allocations_of(f"presences of {page}", 8, beside=1)]
        counted += [calls_of("presences of 100", 2)] if page == 100 else []
        yield row(f"`presences` of {page}", *ratios, *counted)
    one, three = (float(system_calls[f"presences of 100, {on}"]) for on in ("a memcached", "three memcacheds"))
    trip = ("one round trip", f"{three:g} system calls, with one server {one:g}", three <= 3 * one)
    yield row("`presences` over three servers", *limits(WORKS[2:], 1.35, 1.35, section="servers"), trip)
    on_tokio = {"section": "tokio", "side": "async"}
    single, pages = limits(WORKS[:2], 1.1, 1.1, **on_tokio), limits(WORKS[2:], 1.35, 1.35, **on_tokio)
    yield row("`AsyncTracker`, against raw tokio", *single, *pages)
    hot = [nanoseconds(f"1,000 hot users, {threads}", 100) for threads in ("1 thread", "2 threads")]
    hot = [(goal + then, figure, met) for (goal, figure, met), then in zip(hot, (", one thread", ", two"))]
    hot.append(nanoseconds("1,000 hot users, 1 thread", 2_000, "p99"))
    yield row("`Recorder::seen`, user already queued", *hot, calls_of("Recorder::seen of a pending user", 0))
    random = "50,000 random users"
    yield row(f"`Recorder::seen`, {random}", nanoseconds(random, 400), nanoseconds(random, 2_000, "p99"))
    for users, goal in DRAINS.items():
        rate, raw, ratio = (recorder[f"{users}, {what}"] for what in ("rate", "raw", "ratio"))
        what, shown = f"recorder's drain, users {users}", f"{rate:,.0f}, {ratio:.2f} x the time of a raw socket"
        if goal:
            yield row(what, (f"≥ {goal:,} users/s in A", shown, rate >= goal))
        else:
            yield f"| {what} | | {shown} | |"
    share = recorder["guards"]
    yield row("10,000 guards of `keep_online`", ("< 1 % of a core", f"{share:.2g} %", share < 1))
    grown = max(0, recorder["grown"])
    bounded = ("memory bounded, drops counted", f"{grown:.0f} KiB more for users that are queued", grown < 1024)
    stopped = f"{random}, memcached stopped"
    yield row(f"`Recorder::seen`, {stopped}", nanoseconds(stopped, 2_000, "p99"), bounded)
    layer, control = sites["axum layer"]["ratio"], sites["axum control"]["ratio"]
    kept = f"{layer:.2f} (control {control:.2f})"
    yield row("axum with the layer, requests/s of axum without", ("≥ 0.97 beside a control", kept, layer >= 0.97))
    yield row("every other client, the same work", *(behind(figures, work) for work in WORKS))


def behind(figures, work):
    """The claim that `Tracker` is ahead of all others, on one core and on two."""
    by = {}
    for side in figures["calls"]["names"]:
        if side not in OURS:
            of = [figures["calls"][work][cores] for cores in "AB"]
            by[side] = min(sides[side]["ratio"] / sides["tracker"]["ratio"] for sides in of)
    nearest = min(by, key=by.get)
    shown = f"{by[nearest]:.2f} x ours ({label(figures, nearest).partition(' (')[0]})"
    return f"{work}: behind", shown, by[nearest] > 1


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
    return table(figures["calls"], WORKS, "a raw socket", {side: label(figures, side) for side in order(figures)})


def tokio(figures):
    names = {side: label(figures, side) for side in ("async", "async-memcached")}
    return table(figures["tokio"], WORKS, "raw tokio", names)


def servers(figures):
    names = {side: OURS[side] for side in ("tracker", "async")}
    return table(figures["servers"], WORKS[2:], "three raw sockets", names)


def transports(figures):
    heads = {"unix": ("a raw Unix socket", "over a Unix socket"), "tls": ("a raw TCP socket", "over TLS")}
    for transport, (raw, over) in heads.items():
        head, line, *rows = table(figures["transports"][transport], WORKS[:3], raw, {"tracker": f"`Tracker` {over}"})
        yield from (head, line, *rows) if transport == "unix" else rows


def table(figures, works, raw, names):
    """Times the raw side's, whose own row is in microseconds."""
    yield "| | " + " | ".join(f"{work}, {cores}" for work in works for cores in "AB") + " |"
    yield "| --- |" + " ---: |" * (2 * len(works))
    micros = (figures[work][cores]["raw"]["µs"] for work in works for cores in "AB")
    yield f"| {raw} | " + " | ".join(f"{figure:.0f} µs" for figure in micros) + " |"
    for side, name in names.items():
        cells = []
        for work in works:
            for cores in "AB":
                figure = figures[work][cores].get(side)
                ratio = figure and figure["ratio"]
                digits = 1 if ratio and ratio >= 9.95 else 2
                cells.append("" if not figure else f"{ratio:.{digits}f}" if ratio >= 0.1 else f"{ratio:.3f}")
        yield f"| {f'**{name}**' if side in OURS else name} | " + " | ".join(cells) + " |"


def allocations(figures):
    counts = figures["allocations"]
    yield "| | `seen` | `last_seen` | `presences` of 100 | of 500 |"
    yield "| --- | ---: | ---: | ---: | ---: |"
    for name, before in (("`Tracker`", ""), ("`AsyncTracker`", "AsyncTracker::")):
        subjects = ("seen", "last_seen", "presences of 100", "presences of 500")
        # The runtime's own are none of ours.
        own = counts["block_on"] if before else 0
        yield f"| {name} | " + " | ".join(str(counts[before + subject] - own) for subject in subjects) + " |"


def http(figures):
    yield "| | requests/s | of the same site without (the middle half of the rounds) |"
    yield "| --- | ---: | ---: |"
    for name, what in SITES.items():
        of = figures["http"][name]
        share = "" if name.endswith("without") else f"{of['ratio']:.2f} ({of['low']:.2f} to {of['high']:.2f})"
        yield f"| {what} | {of['rate']:,.0f} | {share} |"


def columns(figures):
    """For the picture: what is done, and each side with its ratio, on one core."""
    what = {"set": "record a user", "get": "read a user", "many of 100": "read a page of 100 users"}
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
