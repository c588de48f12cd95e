"""Holds our local times against Python's own, in the days when the clocks of a zone change.

    check.py OURS..    where OURS.. answers lines `write ZONE SECONDS`, `read ZONE HEX` and `sign_out ZONE`

Both sides have the zone files of PyPI's tzdata in TZDIR, which the C library and so `datetime.now()` goes by.
Prints a line for each kind of check and ends with 1 if any differs.
"""
import datetime
import os
import pathlib
import pickle
import random
import subprocess
import sys
import tempfile
import time
import zoneinfo

import tzdata

FOLDER = str(pathlib.Path(tzdata.__file__).parent / "zoneinfo")
# The first five have had other rules since 2026 than before.
ZONES = ["Africa/Casablanca", "America/Vancouver", "America/Winnipeg", "America/Edmonton", "America/Havana"]
ZONES += ["Europe/Berlin", "America/Chicago", "America/St_Johns", "Australia/Lord_Howe", "Africa/El_Aaiun", "UTC"]
START = 1_756_684_800  # September 2025
HOURS = 3 * 365 * 24
FAKETIME = "/usr/lib/{}/faketime/libfaketime.so.1"


def changes(zone):
    """The hours in which the clocks of the zone change."""
    zone = zoneinfo.ZoneInfo(zone)
    offset = lambda at: datetime.datetime.fromtimestamp(at, zone).utcoffset()
    hours = range(START, START + HOURS * 3600, 3600)
    return [at for at in hours if offset(at) != offset(at + 3600)]


def enter(zone):
    """As Django does with its TIME_ZONE."""
    os.environ["TZ"] = zone
    time.tzset()


def local(at):
    """What datetime.now() gives at that time."""
    return datetime.datetime.fromtimestamp(at)


class Ours:
    def __init__(self, command, **environment):
        environment = {**os.environ, "TZDIR": FOLDER, **environment}
        self.process = subprocess.Popen(
            command, env=environment, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1
        )

    def __call__(self, *words):
        self.process.stdin.write(" ".join(map(str, words)) + "\n")
        answer = self.process.stdout.readline().strip()
        assert answer, words
        return answer

    def end(self):
        self.process.stdin.close()
        assert self.process.wait() == 0


def main():
    os.environ["TZDIR"] = FOLDER
    zoneinfo.reset_tzpath([FOLDER])
    ours, count, wrong = Ours(sys.argv[1:]), {}, 0

    def check(kind, right, *about):
        nonlocal wrong
        count[kind] = count.get(kind, 0) + 1
        if not right:
            wrong += 1
            print(kind, *about, file=sys.stderr)

    # So that it is the files of late 2026 that are compared.
    enter("America/Vancouver")
    assert local(1_796_083_200) == datetime.datetime(2026, 11, 30, 17), local(1_796_083_200)
    for zone in ZONES:
        enter(zone)
        around = changes(zone)
        draw = random.Random(zone)
        times = [at + shift * 600 + draw.randrange(600) for at in around for shift in range(-24, 25)]
        times += [START + draw.randrange(HOURS * 3600) for _ in range(200)]
        for at in times:
            written = pickle.dumps(local(at), 4).hex()
            answer = ours("write", zone, at)
            check("written as Python writes it", answer == written, zone, at, answer, written)
            answer = ours("read", zone, written)
            check("read as Python wrote it", answer == str(at), zone, at, answer)
    ours.end()

    with tempfile.NamedTemporaryFile("w") as clock:
        library = FAKETIME.format(sys.implementation._multiarch)
        assert os.path.exists(library), f"missing: {library}; run tests/interop/install"
        ours = Ours(
            sys.argv[1:], TZ="UTC", LD_PRELOAD=library, FAKETIME_TIMESTAMP_FILE=clock.name, FAKETIME_FMT="%s",
            FAKETIME_NO_CACHE="1", FAKETIME_DONT_FAKE_MONOTONIC="1", DONT_FAKE_MONOTONIC="1",
        )
        for zone in ZONES:
            enter(zone)
            for now in (at + shift * 600 + 7 for at in changes(zone) for shift in range(-12, 18)):
                clock.seek(0)
                clock.write(str(now))
                clock.flush()
                stored = pickle.loads(bytes.fromhex(ours("sign_out", zone)))
                # The post's own lines.
                offline = local(now) > stored + datetime.timedelta(seconds=300)
                ago = now - stored.timestamp()
                check("signed out, and offline for Python", offline, zone, now, stored)
                check("signed out, and at most two hours ago", 305 <= ago <= 305 + 7200, zone, now, ago)
        ours.end()
    for kind, number in count.items():
        print(f"{kind}: {number}")
    assert len(count) == 4
    sys.exit(1 if wrong else 0)


main()
