"""Measures this crate beside its peers, and writes the figures into a file as JSON. `run` calls it.

    measure.py CLIENTS ALLOCATIONS AXUM RECORDER FIGURES [SECTION]...

CLIENTS, ALLOCATIONS, AXUM and RECORDER are the built benches, FIGURES is the file, and `main` has the sections: all of
them are measured if none is named. What the file has of other sections stays.

Every figure is the median of rounds in which all sides take their turn, and the order moves on with each round. Calls
are measured with the client and memcached on one core (A) and on two (B), and a raw socket does the same work between
any two sides: a ratio is a side's time by the mean of the raw times right before and after it. So it is with requests a
second, between any two of which the site without last-seen is asked.
"""

import contextlib
import json
import os
import pathlib
import platform
import re
import statistics
import subprocess
import sys
import tempfile
import time

HERE = pathlib.Path(__file__).resolve().parent
CACHE = pathlib.Path(os.environ["LAST_SEEN_INTEROP_CACHE"])
PYTHON = CACHE / "django52/bin/python"

ROUNDS = 15
# What a side is asked, and how often it does that in a turn.
WORK = {"set": ("set", 1000), "get": ("get", 1000), "many of 100": ("many 100", 60), "many of 500": ("many 500", 20)}
CORES = {"A": ("0", "0"), "B": ("0", "1")}  # of the client, and of memcached
MACHINE_HAS = 2

HTTP_ROUNDS = 21
HTTP_SECONDS = 1


def sides(clients):
    rust = ("tracker", "async", "recorder", "ascii", "binary", "meta", "async-memcached")
    rust = {name: [clients, name] for name in rust}
    names = ("django-pymemcache", "django-pylibmc", "pymemcache", "pylibmc")
    python = {name: [PYTHON, HERE / "peers/peer.py", name] for name in names}
    return {**rust, **python, "php": ["php", HERE / "peers/peer.php"], "node": ["node", HERE / "peers/peer.js"]}


def calls(clients):
    return compare([clients, "raw"], sides(clients))


def tokio(clients):
    return compare([clients, "raw-tokio"], {name: [clients, name] for name in ("async", "async-memcached")})


def servers(clients):
    ours = {name: [clients, name] for name in ("tracker", "async")}
    works = {work: how for work, how in WORK.items() if work.startswith("many")}
    return compare([clients, "raw"], ours, works, ["tcp"] * 3)


def transports(clients):
    """Over TLS against a raw socket without: what the encryption costs is in the figure."""
    raw, tracker = [clients, "raw"], {"tracker": [clients, "tracker"]}
    works = {work: how for work, how in WORK.items() if work != "many of 500"}
    return {
        "unix": compare(raw, tracker, works, ["unix"]),
        "tls": compare(raw, tracker, works, ["tls"], ["tcp"]),
    }


def compare(raw, commands, works=WORK, on_memcacheds=("tcp",), raw_on=None):
    """Each side's time by the raw one's; `raw_on` names the raw side's memcacheds where they are others."""
    figures = {}
    for cores, (client_core, server_core) in CORES.items():
        with contextlib.ExitStack() as stack:
            memcached = lambda kind: stack.enter_context(Memcached(server_core, kind)).address
            address = ",".join(map(memcached, on_memcacheds))
            raw_address = ",".join(map(memcached, raw_on)) if raw_on else address
            peers = stack.enter_context(Peers())
            base = peers.add(Peer(on(client_core, raw), raw_address))
            others = {
                name: peers.add(Peer(on(client_core, command), address)) for name, command in commands.items()
            }
            for work, (ask, times) in works.items():
                able = [name for name in others if work == "set" or name != "recorder"]
                for peer in [base, *(others[name] for name in able)]:
                    # Warm, and with a record of every user, as the side writes it.
                    for line in ["set 1000", f"{ask} {times}"] if work != "set" else ["set 1000"] * 2:
                        peer.ask(line)
                seconds = {name: [] for name in able}
                ratios = {name: [] for name in able}
                raws = []
                for nth in range(ROUNDS):
                    raws.append(base.seconds(ask, times))
                    for name in rotated(able, nth):
                        seconds[name].append(others[name].seconds(ask, times))
                        raws.append(base.seconds(ask, times))
                        ratios[name].append(2 * seconds[name][-1] / (raws[-2] + raws[-1]))
                print(f"{cores}, {work}: raw {1e6 * statistics.median(raws):.1f} µs", flush=True)
                result = figures.setdefault(work, {}).setdefault(cores, {})
                result["raw"] = {"µs": 1e6 * statistics.median(raws), "ratio": 1.0}
                for name in able:
                    result[name] = spread(ratios[name]) | {"µs": 1e6 * statistics.median(seconds[name])}
                    print(f"  {name:<20} {result[name]['ratio']:>8.3f}", flush=True)
            figures["names"] = {name: peer.ask("name") for name, peer in others.items()}
    return figures


def allocations(program):
    with Memcached("1") as server:
        text = output(on("0", [program]), env=os.environ | {"MEMCACHE_SERVERS": server.address})
    print(text, flush=True)
    return {subject: int(count) for subject, count in re.findall(r"^(.+): (\d+)$", text, re.M)}


def http(axum):
    """Requests per second: a site on one core, wrk and memcached on the other."""
    with Memcached("1") as server, Peers() as peers:
        rust = peers.add(Peer(on("0", [axum]), server.address))
        address = {f"axum {what}": rust.line() for what in ("without", "layer", "idle", "async", "blocking")}
        django = lambda *how: peers.add(Gunicorn(server.address, *how)).address
        address["django without"] = django("PyMemcacheCache", "")
        for backend in ("PyMemcacheCache", "PyLibMCCache"):
            address[f"django {backend}"] = django(backend, "members.middleware.LastSeenMiddleware")
        for stack in ("axum", "django"):
            address[f"{stack} control"] = address[f"{stack} without"]
        for name in address:
            wrk(address[name], 1)
        rates, ratios = {name: [] for name in address}, {name: [] for name in address}
        for nth in range(HTTP_ROUNDS):
            for stack in ("axum", "django"):
                without = f"{stack} without"
                rates[without].append(wrk(address[without], HTTP_SECONDS))
                for name in rotated([name for name in address if name.startswith(stack) and name != without], nth):
                    for site in (name, without):
                        rates[site].append(wrk(address[site], HTTP_SECONDS))
                    ratios[name].append(2 * rates[name][-1] / sum(rates[without][-2:]))
        figures = {name: {"rate": statistics.median(of)} for name, of in rates.items()}
        for name, of in figures.items():
            of.update(spread(ratios[name]) if ratios[name] else {})
            print(f"  {name:<24} {of['rate']:>8.0f} requests/s {of.get('ratio', 1):>8.3f}", flush=True)
        return figures


def recorder(program):
    """The figures of the bench `recorder`, which has its own rounds, and medians of five runs of it. Drains are in A."""
    runs = []
    for _ in range(5):
        text = output([program, "seen"]) + output(on(CORES["A"][0], [program, "drain"]))
        rows = re.findall(r"^(.+?) +(\d+) +(\d+) +(\d+)$", text, re.M)
        run = {f"{name}, {what}": int(n) for name, *ns in rows for what, n in zip(("median", "p99"), ns)}
        for name, rate, raw, ratio in re.findall(r"^(.+?) +(\d+) +(\d+) +(\d+\.\d+)$", text, re.M):
            run |= {f"{name}, rate": int(rate), f"{name}, raw": int(raw), f"{name}, ratio": float(ratio)}
        run["bytes"] = int(re.search(r"beyond the key.*: (\d+) bytes", text)[1])
        run["grown"] = int(re.search(r"grown meanwhile: (-?\d+) KiB", text)[1])
        runs.append(run)
        print(f"  {run}", flush=True)
    guards = float(re.search(r"guards: ([\d.]+) %", output([program, "guards"]))[1])
    return {name: statistics.median(run[name] for run in runs) for name in runs[0]} | {"guards": guards}


def machine():
    cpuinfo = pathlib.Path("/proc/cpuinfo").read_text()
    return {
        "cpu": re.search(r"model name\s*: (.*)", cpuinfo)[1],
        "cores": os.cpu_count(),
        "kernel": re.match(r"\d+\.\d+", platform.release())[0],
        "memcached": output(["memcached", "-V"]).split()[1],
        "rustc": output(["rustc", "-V"], cwd=HERE).split()[1],
        "gunicorn": output([PYTHON, "-c", "import gunicorn; print(gunicorn.__version__)"]).strip(),
        "date": time.strftime("%Y-%m-%d"),
    }


def spread(ratios):
    """The median, and what the middle half of the rounds lies between."""
    low, median, high = statistics.quantiles(ratios, n=4)
    return {"ratio": median, "low": low, "high": high}


def rotated(names, by):
    return names[by % len(names) :] + names[: by % len(names)]


def on(core, command):
    return ["taskset", "-c", core, *map(str, command)]


def output(command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True, **options).stdout


def wrk(address, seconds):
    command = ["wrk", "-t1", "-c32", f"-d{seconds}s", "-s", HERE / "peers/users.lua", f"http://{address}/"]
    said = output(on("1", command))
    if "Non-2xx" in said or "Socket errors" in said:
        sys.exit(f"{address}: {said}")
    return float(re.search(r"Requests/sec: +([\d.]+)", said)[1])


class Peer:
    """A program that answers line by line."""

    def __init__(self, command, server):
        environment = os.environ | {"MEMCACHE_SERVERS": server, "NODE_PATH": str(CACHE / "node/node_modules")}
        pipe = subprocess.PIPE
        self.process = subprocess.Popen(command, env=environment, stdin=pipe, stdout=pipe, text=True)

    def ask(self, line):
        self.process.stdin.write(line + "\n")
        self.process.stdin.flush()
        return self.line()

    def line(self):
        answer = self.process.stdout.readline().strip()
        if not answer:
            sys.exit(f"{self.process.args} ended: see above")
        return answer

    def seconds(self, ask, times):
        """A call."""
        return float(self.ask(f"{ask} {times}")) / times

    def end(self):
        self.process.stdin.close()
        self.process.wait(timeout=60)


class Gunicorn:
    """peers/django_site.py on gunicorn as it is started by default: one worker, one request at a time."""

    def __init__(self, server, backend, middleware):
        environment = os.environ | {"MEMCACHE_SERVERS": server, "BACKEND": backend, "MIDDLEWARE": middleware}
        command = [CACHE / "django52/bin/gunicorn", "--chdir", HERE / "peers", "--bind", "127.0.0.1:0"]
        self.errors = tempfile.TemporaryFile("w+")
        command = on("0", [*command, "django_site:application"])
        self.process = subprocess.Popen(command, env=environment, stderr=self.errors)
        self.address = wait_for(lambda: re.search(r"Listening at: http://(\S+)", self.said()), self.said)[1]

    def said(self):
        self.errors.seek(0)
        return self.errors.read()

    def end(self):
        self.process.terminate()
        self.process.wait()


class Peers(list):
    """Ended with the block."""

    def add(self, peer):
        self.append(peer)
        return peer

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for peer in self:
            peer.end()


class Memcached:
    """By TCP or TLS on a free port, or on a Unix socket; ended with the block."""

    def __init__(self, core, kind="tcp"):
        self.folder = tempfile.TemporaryDirectory()
        ports, socket = (pathlib.Path(self.folder.name, name) for name in ("ports", "socket"))
        command = ["memcached", "-u", "root", "-U", "0"]
        command += ["-s", socket, "-a", "0777"] if kind == "unix" else ["-l", "127.0.0.1", "-p", "-1"]
        if kind == "tls":
            certificate, key = self.certificate()
            command += ["-Z", "-o", f"ssl_chain_cert={certificate},ssl_key={key}"]
        environment = os.environ | {"MEMCACHED_PORT_FILENAME": str(ports)}
        self.process = subprocess.Popen(on(core, command), env=environment)
        if kind == "unix":
            wait_for(socket.exists)
            self.address = f"unix:{socket}"
            return
        port = wait_for(lambda: ports.exists() and re.search(r"TCP INET: (\d+)", ports.read_text()))
        self.address = f"127.0.0.1:{port[1]}"
        if kind == "tls":
            self.address = f"tls://{self.address}?ca={certificate}"

    def certificate(self):
        """The files of a self-signed one and of its key."""
        certificate, key = (pathlib.Path(self.folder.name, name) for name in ("server.pem", "server.key"))
        command = ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes"]
        command += ["-subj", "/CN=127.0.0.1", "-addext", "subjectAltName=IP:127.0.0.1"]
        # rustls does not take a CA for a server.
        command += ["-addext", "basicConstraints=critical,CA:FALSE", "-keyout", key, "-out", certificate]
        subprocess.run(command, check=True, stderr=subprocess.DEVNULL)
        return certificate, key

    def __enter__(self):
        return self

    def __exit__(self, *_):
        self.process.kill()
        self.process.wait()
        self.folder.cleanup()


def wait_for(find, said=lambda: ""):
    for _ in range(3_000):
        if found := find():
            return found
        time.sleep(0.01)
    sys.exit(f"not started after 30 seconds: {said()}")


def main():
    clients, counting, axum, bench, path, *sections = sys.argv[1:]
    if os.cpu_count() < MACHINE_HAS:
        sys.exit("benches/compare: two cores are needed")
    path = pathlib.Path(path)
    figures = json.loads(path.read_text()) if path.exists() else {}
    measures = {
        "calls": lambda: calls(clients),
        "tokio": lambda: tokio(clients),
        "servers": lambda: servers(clients),
        "transports": lambda: transports(clients),
        "allocations": lambda: allocations(counting),
        "recorder": lambda: recorder(bench),
        "http": lambda: http(axum),
    }
    for section in sections or measures:
        print(f"== {section}", flush=True)
        figures[section] = measures[section]()
        path.write_text(json.dumps(figures | {"machine": machine()}, indent=1, ensure_ascii=False))


main()
