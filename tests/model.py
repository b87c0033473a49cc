#!/usr/bin/env python3
"""Random schedules on both ends of connections through any forwarder, and a
model of what each end must see.

    model.py [--seed N] [--runs N] [--without KIND,...] [--show] FROM=TO...

FROM is where the forwarder listens and TO where it connects to, each
[NS@]HOST:PORT, or the path of a UNIX socket; each such pair is a process with
connections in turn. Schedule i has the seed N+i, so that "--seed N --runs 1"
repeats one schedule, with the same steps but another timing; --show prints the
steps. KIND is urgent, reset, close, half, early or refusal.

Each end has a track that writes (1 byte to 2 MiB at a time, or many of a few
bytes, urgent ones among them) and a track that reads, both with pauses and
with buffers of random sizes. A track may end in a shutdown, in a reset (SO_LINGER
{1, 0}) or in a close; may wait until the other end has shut down; and the
client's may begin before the target has accepted. A refusal is an end that
answers, reads little or nothing, and resets or closes while the other writes:
the next write of the other end fails, and that end reads on. The client's first
bytes are the schedule's number. The model:

- An end reads the bytes that the other end wrote, from the first one on, urgent
  bytes in line.
- An end reads a clean end of stream only if the other end had shut down, and
  behind all of its bytes. If that end was reset, and had not shut down, this
  end reads a reset.
- A read or write fails only if the other end has reset or closed. Before that
  error, or before a read of 0 behind a write that failed, an end reads all bytes
  that had arrived when the other end reset or closed (SIOCOUTQ), unless it was
  slow: a forwarder waits for STALL seconds in which nothing is acknowledged,
  and an end acknowledges when it has read all, or what its buffer holds.
- A UNIX socket has no reset: an end with one may read a clean end instead.
- Nothing hangs: a connection is over within LIMIT seconds.

Prints counts of the steps, each violation with its seed, and counts of each kind
of violation. Exit status 1 if there was a violation.
"""

import argparse
import collections
import contextlib
import ctypes
import fcntl
import multiprocessing
import os
import random
import select
import socket
import struct
import sys
import termios
import time

import peer

LIMIT = 10.0 * int(os.environ.get("TEST_SLOW", "1"))
STALL = 0.9  # nsfwd: IO_STALL_MS, 1 s
PERIOD = 1048573  # prime: no buffer size divides it
LONGEST = 1 << 21
HELLO = 8
BLOCK = random.Random(1).randbytes(PERIOD)
BLOCK = memoryview(BLOCK * 4)


class Violation(Exception):
    pass


class Stream:
    """The bytes that one end writes, without end, after the given head."""

    def __init__(self, rng, head=b""):
        self.head = head
        self.begin = rng.randrange(PERIOD)

    def at(self, offset, count):
        """Returns at most `count` bytes from the offset on."""
        if offset < len(self.head):
            return self.head[offset:offset + count]
        offset = (self.begin + offset - len(self.head)) % PERIOD
        return BLOCK[offset:offset + count]


def unacked(sock):
    """Returns how many bytes are not acknowledged (SIOCOUTQ); 0 if UNIX."""
    if sock.family == socket.AF_UNIX:
        return 0
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]


class End:
    """One end of one connection: its two tracks and their results."""

    def __init__(self, name, sock, out, into, tracks):
        self.name = name
        self.sock = sock
        self.out, self.into = out, into
        self.tracks = {way: list(steps) for way, steps in tracks.items()}
        self.until = {"write": 0.0, "read": 0.0}  # end of a pause
        self.sent = self.got = self.arrived = 0
        self.fin = self.eof = self.gone = False
        self.cut = False  # a write has failed
        self.error = None
        self.other = None
        self.resets = True  # a reset differs from a clean end
        self.took = 0, time.monotonic()  # `got` and time, see pace()
        self.slow = False

    def done(self):
        return self.gone or self.error or (self.eof and (self.fin or self.cut))

    def pace(self):
        """Is slow if it took STALL seconds to read all, or a receive buffer."""
        got, since = self.took
        now = time.monotonic()
        self.slow |= now - since > STALL
        if self.got - got >= self.sock.getsockopt(socket.SOL_SOCKET,
                                                  socket.SO_RCVBUF):
            self.took = self.got, now

    def fail(self, error, way):
        if not self.other.gone:
            raise Violation(f"{self.name}: {error} from nowhere")
        if way == "write":
            self.cut = True
            self.tracks["write"].clear()
            return
        self.error = error
        lost = self.other.arrived - self.got
        self.pace()
        if lost > 0 and not self.slow:
            raise Violation(f"{self.name}: bytes in front of a reset lost",
                            lost)

    def leave(self, reset):
        self.arrived = self.sent - unacked(self.sock)
        if reset:
            self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                                 struct.pack("ii", 1, 0))
        self.gone = True
        self.fin = not reset or self.fin
        self.sock.close()

    def put(self, step):
        urgent = step[0] == "urgent"
        left = 1 if urgent else min(step[1], step[2])
        data = self.out.at(self.sent, left)
        n = self.sock.send(data, socket.MSG_OOB if urgent and
                           peer.has_oob(self.sock.family) else 0)
        self.sent += n
        step[1] -= n
        return step[1] == 0

    def get(self, step):
        try:
            data = self.sock.recv(min(step[1], step[2]))
        except BlockingIOError:
            self.took = self.got, time.monotonic()
            raise
        if not data and self.other.gone and (self.cut or not self.resets):
            self.fail("end", "read")
            return True
        if not data:
            self.eof = True
            lost = self.other.sent - self.got
            if not self.other.fin:
                raise Violation(f"{self.name}: a clean end that was none"
                                + (", of a reset" if self.other.gone else ""))
            if lost:
                raise Violation(f"{self.name}: a clean end, bytes lost",
                                lost)
            return True
        at = 0
        while at < len(data):
            want = self.into.at(self.got, len(data) - at)
            if data[at:at + len(want)] != want:
                raise Violation(f"{self.name}: wrong bytes", self.got)
            at += len(want)
            self.got += len(want)
        self.pace()
        if self.got > self.other.sent:
            raise Violation(f"{self.name}: more bytes than were sent")
        step[1] -= len(data)
        return step[1] == 0

    def act(self, way, step):
        """Does a step as far as it can. Returns true when the step is done."""
        verb = step[0]
        if verb in ("write", "urgent"):
            return self.put(step)
        if verb == "read":
            return self.get(step)
        if verb == "pause":
            if not self.until[way]:
                self.until[way] = time.monotonic() + step[1]
            if time.monotonic() < self.until[way]:
                raise BlockingIOError
            self.until[way] = 0.0
        elif verb == "settle":
            # While a receive buffer is full, Linux (6.18) may drop the sender's
            # acknowledgements, with or without a forwarder.
            if unacked(self.sock) and self.other.got < self.sent:
                self.until[way] = time.monotonic() + 0.001
                raise BlockingIOError
            self.until[way] = 0.0
        elif verb == "await":
            if not self.eof:
                raise BlockingIOError
        elif verb == "fin":
            self.fin = True
            self.sock.shutdown(socket.SHUT_WR)
        else:
            self.leave(verb == "reset")
        return True

    def run(self, way):
        """Does the steps of a track until one blocks. Returns true if it moved."""
        track, moved = self.tracks[way], False
        while track and not self.gone and not self.error:
            if way == "read" and self.eof and track[0][0] == "read":
                track.pop(0)
                continue
            try:
                if self.act(way, track[0]):
                    track.pop(0)
                moved = True
            except BlockingIOError:
                break
            except OSError as error:
                self.fail(type(error).__name__, way)
                moved = True
        return moved

    def wants(self):
        events = 0
        for way, event in (("write", select.POLLOUT), ("read", select.POLLIN)):
            track = self.tracks[way]
            if track and track[0][0] in (way, "urgent"):
                events |= event
        return events

    def pause(self):
        return min((t for t in self.until.values() if t), default=None)


# Schedules.

def size(rng, most=LONGEST):
    return int(2 ** rng.uniform(0, most.bit_length() - 1))


def writes(rng, without):
    steps = []
    for _ in range(rng.choice((0, 1, 1, 2, 3, 5))):
        kind = rng.random()
        if kind < 0.5:
            n = size(rng)
            steps.append(["write", n, max(size(rng), n // 100, 1)])
        elif kind < 0.65:
            n = rng.randint(1, 100)
            steps.append(["write", n, rng.randint(1, 3)])
        elif kind < 0.8 and "urgent" not in without:
            steps.append(["urgent", 1, 1])
        else:
            steps.append(["pause", rng.random() * 0.03])
    return steps


def reads(rng):
    steps = []
    for _ in range(rng.choice((0, 0, 1, 2))):
        steps.append(["pause", rng.random() ** 2 * 0.1])
        n = size(rng)
        steps.append(["read", n, max(size(rng, 1 << 17), n // 100, 1)])
    return steps + [["read", 1 << 40, 1 << rng.randint(12, 18)]]


def refuse(rng, tracks, without):
    """Makes one end answer, hardly read, and leave while the other writes."""
    names = ["client", "target"]
    rng.shuffle(names)
    first, second = (tracks[name] for name in names)
    first["write"] = [step for step in writes(rng, without)
                      if step[0] != "pause"] or [["write", size(rng), 1 << 20]]
    if rng.random() < 0.7:
        first["write"].append(["settle"])
    first["write"].append([rng.choice(("reset", "close"))])
    first["read"] = [["read", size(rng, 1 << 16), 1 << 16]]
    second["write"] = [["write", 1 << 24, size(rng) + 1000]] + second["write"]


def schedule(seed, without):
    """Returns the tracks of both ends, the KINDs in them, and the generator."""
    rng = random.Random(seed)
    tracks = {name: {"write": writes(rng, without) + [["fin"]],
                     "read": reads(rng)} for name in ("client", "target")}
    words = set()
    kind = rng.random()
    for word, share in (("reset", 0.35), ("close", 0.1)):
        if kind < share and word not in without:
            name = rng.choice(("client", "target"))
            track = tracks[name][rng.choice(("write", "read"))]
            track.insert(rng.randint(0, len(track)), [word])
            words.add(word)
            break
        kind -= share
    else:
        if rng.random() < 0.5 and "refusal" not in without:
            refuse(rng, tracks, without)
            words.add("refusal")
    if rng.random() < 0.3 and not {"half", "refusal"} & (without | words):
        track = tracks[rng.choice(("client", "target"))]["write"]
        track.insert(rng.randint(0, max(0, len(track) - 1)), ["await"])
        words.add("half")
    if rng.random() < 0.2 and "early" not in without:
        words.add("early")
    if any(step[0] == "urgent" for name in tracks
           for step in tracks[name]["write"]):
        words.add("urgent")
    tracks["client"]["write"].insert(0, ["write", HELLO, HELLO])
    return tracks, words, rng


def room(rng):
    """Returns a buffer size. Smaller ones wait for silly window timers."""
    return 1 << rng.randint(15, 18)


def shape(sock, rng):
    sock.setblocking(False)
    nodelay = rng.random() < 0.8
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, nodelay)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    for option in (socket.SO_RCVBUF, socket.SO_SNDBUF):
        if rng.random() < 0.3:
            sock.setsockopt(socket.SOL_SOCKET, option, room(rng))


# Connections.

def place(text):
    namespace, _, address = text.rpartition("@")
    host, _, port = address.rpartition(":")
    return namespace, (host.strip("[]") or "127.0.0.1", int(port))


@contextlib.contextmanager
def within(namespace):
    """Makes sockets in a namespace; "" is that of the process."""
    home = os.open("/proc/self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{namespace}" if namespace else
                    "/proc/self/ns/net", os.O_RDONLY)
    libc = ctypes.CDLL(None)
    try:
        if libc.setns(there, 0):
            raise OSError(f"no namespace {namespace}")
        yield
    finally:
        libc.setns(home, 0)
        os.close(home)
        os.close(there)


def make_socket(text, kind=socket.SOCK_STREAM):
    """Returns a socket in its namespace, and the address."""
    if text.startswith("/"):
        return socket.socket(socket.AF_UNIX, kind), text
    namespace, address = place(text)
    family = socket.AF_INET6 if ":" in address[0] else socket.AF_INET
    with within(namespace):
        sock = socket.socket(family, kind)
    return sock, address


def receive(sock, count):
    """Receives `count` bytes, or fewer at the end; MSG_WAITALL has no timeout."""
    got = b""
    while len(got) < count and (more := sock.recv(count - len(got))):
        got += more
    return got


class Pair:
    """Both ends of the connections of one forwarder, one schedule at a time."""

    def __init__(self, text, without):
        self.text = text
        self.connect, self.listen = text.split("=")
        self.without = without
        self.listener, address = make_socket(self.listen)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        if self.listen.startswith("/"):
            os.chmod(self.listen, 0o777)
        self.listener.listen(64)
        self.listener.setblocking(False)
        self.strangers = []  # accepted; the client is not yet known

    def begin(self, seed, tracks, rng):
        up, down = Stream(rng, struct.pack("!Q", seed)), Stream(rng)
        sock, address = make_socket(self.connect)
        client = End("client", sock, up, down, tracks["client"])
        target = End("target", None, down, up, tracks["target"])
        client.other, target.other = target, client
        client.resets = target.resets = "/" not in self.text
        if rng.random() < 0.3:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, room(rng))
        sock.settimeout(LIMIT)
        sock.connect(address)
        shape(sock, rng)
        return client, target

    def meet(self, target, rng):
        """Finds the target's end: the one that the client's first bytes reach."""
        with contextlib.suppress(BlockingIOError):
            while True:
                sock = self.listener.accept()[0]
                sock.setblocking(False)
                self.strangers.append((sock, bytearray()))
        for sock, seen in list(self.strangers):
            try:
                data = sock.recv(HELLO - len(seen))
            except BlockingIOError:
                continue
            except OSError:
                data = None
            if data == b"":
                raise Violation("target: a clean end before the first byte")
            seen += data or b""
            if data and len(seen) < HELLO:
                continue
            self.strangers.remove((sock, seen))
            if bytes(seen) != target.into.head:
                sock.close()  # reset, or of an earlier schedule
                continue
            target.sock = sock
            target.got = HELLO
            shape(sock, rng)

    def turn(self, client, target, words, rng):
        """Runs all tracks once. Returns true if any has moved."""
        moved = False
        if not target.sock:
            self.meet(target, rng)
            moved = bool(target.sock)
        if target.sock or "early" in words:
            moved |= client.run("write") | client.run("read")
        elif client.sent < HELLO:
            client.put(["write", HELLO, HELLO])
            client.tracks["write"].pop(0)
        if target.sock:
            moved |= target.run("write") | target.run("read")
        return moved

    def wait(self, ends, patience):
        poller = select.poll()
        for end in ends:
            if end.sock and not end.done() and end.wants():
                poller.register(end.sock, end.wants())
                continue
        if not ends[1].sock:
            poller.register(self.listener, select.POLLIN)
            for sock, _ in self.strangers:
                poller.register(sock, select.POLLIN)
        until = [t for t in (end.pause() for end in ends if not end.done())
                 if t]
        if until:
            patience = min(patience, min(until) - time.monotonic() + 0.0005)
        # Ends look ten times a second, so that one for which nothing comes is
        # not slow, whatever comes then.
        poller.poll(max(0, min(patience, 0.1) * 1000))

    def run(self, seed):
        tracks, words, rng = schedule(seed, self.without)
        client, target = ends = self.begin(seed, tracks, rng)
        limit = time.monotonic() + LIMIT
        gone = None
        try:
            while not (client.done() and target.done()):
                if self.turn(client, target, words, rng):
                    continue
                now = time.monotonic()
                if now > limit:
                    raise Violation("hang", ", ".join(
                        f"{e.name} sent {e.sent} got {e.got}"
                        f"{' fin' * e.fin}{' eof' * e.eof}"
                        f"{' gone' * e.gone}" for e in ends))
                if client.gone and not target.sock:
                    # The client left early: the target may never be dialled.
                    gone = gone or now
                    if now > gone + 0.1:
                        break
                    self.wait(ends, 0.02)
                else:
                    self.wait(ends, limit - now + 0.01)
        finally:
            for end in ends:
                if end.sock:
                    end.sock.close()
        if client.slow or target.slow:
            words.add("slow")
        return words, client.got + target.got


def work(text, options, first, step, results):
    pair = Pair(text, options.without)
    count, total, violations = collections.Counter(), 0, []
    for i in range(first, options.runs, step):
        seed = options.seed + i
        if options.show:
            for name, ways in schedule(seed, options.without)[0].items():
                for way, steps in ways.items():
                    print(f"{name} {way}s: {steps}", flush=True)
        try:
            words, moved = pair.run(seed)
            total += moved
            count.update(words)
        except Violation as what:
            violations.append((seed, *what.args))
        except OSError as error:
            violations.append((seed, f"client: {error.strerror} at connect"))
        count["schedules"] += 1
        if len(violations) >= options.most:
            break
    results.put((count, total, violations))


def model(options):
    """Returns (counts of steps, bytes, violations) of all pairs."""
    context = multiprocessing.get_context("fork")
    results = context.Queue()
    many = len(options.pairs)
    workers = [context.Process(target=work, args=(text, options, i, many,
                                                  results))
               for i, text in enumerate(options.pairs)]
    for worker in workers:
        worker.start()
    count, total, violations = collections.Counter(), 0, []
    for _ in workers:
        one = results.get()
        count += one[0]
        total += one[1]
        violations += one[2]
    for worker in workers:
        worker.join()
    return count, total, sorted(violations)


def options_of(words):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--seed", type=int)
    parser.add_argument("--runs", type=int, default=150)
    parser.add_argument("--most", type=int, default=1000,
                        help="violations after which a process ends")
    parser.add_argument("--without", default="")
    parser.add_argument("--show", action="store_true")
    parser.add_argument("pairs", nargs="+", metavar="FROM=TO")
    options = parser.parse_args(words)
    options.without = set(options.without.split(","))
    if options.seed is None:
        options.seed = random.SystemRandom().randrange(1 << 40)
    return options


def main():
    options = options_of(sys.argv[1:])
    print(f"seed {options.seed}", flush=True)
    start = time.monotonic()
    count, total, violations = model(options)
    for seed, *what in violations[:20]:
        print(f"--seed {seed}:", *what)
    for kind, n in collections.Counter(v[1] for v in violations).items():
        print(f"{n:6} {kind}")
    print(f"{count.pop('schedules')} schedules in "
          f"{time.monotonic() - start:.1f} s, {total / 1e6:.0f} MB; "
          + ", ".join(f"{n} {word}" for word, n in sorted(count.items()))
          + f"; {len(violations)} violations", flush=True)
    return 1 if violations else 0


if __name__ == "__main__":
    sys.exit(main())
