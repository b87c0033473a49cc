#!/usr/bin/env python3
"""The two ends of a connection under test, one process each.

    peer.py [--limit S] listen ADDR [--count N] STEP...
    peer.py [--limit S] connect ADDR [--count N] STEP...
    peer.py [--limit S] echo ADDR       any number of connections, until killed
    peer.py [--limit S] hold N ADDR     N connections to an echo, one byte each
                                        way, then still, until killed
    peer.py [--limit S] void ADDR       listens with a full queue: a SYN to it
                                        gets no answer, until killed
    peer.py [--limit S] late FILE ADDR STEP...
                                        as void until FILE is there, then as listen

ADDR is PORT or HOST:PORT (or [HOST]:PORT), unix:/path or unix:@abstract. Each
command but connect writes "ready" to the descriptor that $READY_FD names, or to
stdout, once it listens or its connections are open. A command takes --limit
(30 s) at most, times $TEST_SLOW. With --count N the steps are done on N connections at the same
time. Exit status: 0 every step succeeded, 1 a step failed, 3 the limit passed.

Each end sends one endless stream of bytes, in the pieces of its steps. The other
end knows the stream and checks every byte. A step is a word:

    send=N      N bytes            more=N      the same with MSG_MORE
    recv=N      N bytes arrive     read=N      the same, in small reads with
                                               pauses
    eof         a clean end arrives, nothing before it
    reset       ECONNRESET arrives, after any number of right bytes
    reset=N     the same after exactly N bytes
    broken      a reset arrives behind the end: EPIPE or ECONNRESET on sending
    fin         shutdown(SHUT_WR)  rst         close with a reset
    close       close              sleep=S     does nothing
    note        nothing
    touch=FILE  makes FILE         await=FILE  until FILE is there
    slices=A-B  one send(2) of each size from A to B
    ones=N      N sends of one byte
    oob=N       N times 10 bytes and then one more with MSG_OOB, which UNIX
                sockets have since Linux 5.15
    flood       sends in the background from now on, until it fails
    post=N      sends N bytes in the background, then does fin
    ping=N      N requests of 5 to 100 bytes, each fourth in two segments, each
                answered; 85 of 100 within 20 ms
    pong=N      answers them
    bulk=N      N random bytes each way at the same time; prints the hashes

fin, rst, close, reset, broken and note print their name and the time, in
milliseconds of a clock that all processes share.
"""

import hashlib
import os
import random
import select
import signal
import socket
import struct
import sys
import threading
import time

PERIOD = 1048573  # prime: no buffer size divides it
CHUNK = 1 << 18
SLOW = int(os.environ.get("TEST_SLOW", "1"))


class Failure(Exception):
    pass


def stream(seed):
    block = random.Random(seed).randbytes(PERIOD)
    return memoryview(block + block[:CHUNK])


STREAMS = {"connect": stream(1), "listen": stream(2)}


def say(*words):
    print(*words, flush=True)


def clock():
    return int(time.monotonic() * 1000)


def ready():
    fd = os.environ.get("READY_FD")
    if fd is None:
        say("ready")
    else:
        os.write(int(fd), b"ready\n")
        os.close(int(fd))


def parse(text):
    if text.startswith("unix:@"):
        return socket.AF_UNIX, "\0" + text[6:]
    if text.startswith("unix:"):
        return socket.AF_UNIX, text[5:]
    host, _, port = text.rpartition(":")
    host = host.strip("[]") or "127.0.0.1"
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return family, (host, int(port))


def listener(text, backlog=4096):
    family, address = parse(text)
    sock = socket.socket(family)
    if family != socket.AF_UNIX:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.listen(backlog)
    return sock


def has_oob(family):
    """Returns false for UNIX sockets before Linux 5.15."""
    if family != socket.AF_UNIX:
        return True
    one, other = socket.socketpair()
    with one, other:
        try:
            return one.send(b"x", socket.MSG_OOB) == 1
        except OSError:
            return False


def connection(text):
    family, address = parse(text)
    sock = socket.socket(family)
    sock.connect(address)
    return sock


class End:
    """One end of one connection, and the steps it can take."""

    def __init__(self, role, sock, dead=False):
        self.sock = sock
        self.mine = STREAMS[role]
        self.other = STREAMS["listen" if role == "connect" else "connect"]
        self.sent = 0
        self.got = 0
        self.dead = dead  # a reset has been seen
        self.thread = None
        self.stop = threading.Event()
        if sock.family != socket.AF_UNIX:
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)

    def run(self, steps):
        for step in steps:
            verb, _, value = step.partition("=")
            try:
                getattr(self, "do_" + verb)(*([value] if value else []))
            except (Failure, OSError) as e:
                raise Failure(f"{step}: {e} (sent {self.sent}, "
                              f"received {self.got})") from e
        self.halt()

    def halt(self):
        self.stop.set()
        if self.thread:
            self.thread.join()
            self.thread = None

    def put(self, count, flags=0):
        """Sends the next count bytes of the stream."""
        while count:
            at = self.sent % PERIOD
            n = self.sock.send(self.mine[at:at + min(count, CHUNK)], flags)
            self.sent += n
            count -= n

    def get(self, limit=CHUNK):
        """Receives and checks some bytes. Returns their number."""
        data = self.sock.recv(min(limit, CHUNK))
        at = self.got % PERIOD
        if data != self.other[at:at + len(data)]:
            raise Failure(f"wrong bytes behind the first {self.got}")
        self.got += len(data)
        return len(data)

    def do_send(self, count):
        self.put(int(count))

    def do_more(self, count):
        self.put(int(count), socket.MSG_MORE)

    def do_recv(self, count):
        end = self.got + int(count)
        while self.got < end:
            if not self.get(end - self.got):
                raise Failure(f"an end, {end - self.got} bytes early")

    def do_read(self, count):
        rng = random.Random(3)
        end = self.got + int(count)
        while self.got < end:
            if not self.get(min(rng.randint(1, 9000), end - self.got)):
                raise Failure(f"an end, {end - self.got} bytes early")
            if rng.random() < 0.05:
                time.sleep(rng.random() * 0.004)

    def do_eof(self):
        if self.get():
            raise Failure("bytes instead of the end")

    def do_reset(self, count=None):
        start = self.got
        while not self.dead:
            try:
                if self.get():
                    continue
            except ConnectionResetError:
                self.dead = True
                break
            # The thread that sends may have got the reset first.
            if self.thread:
                self.thread.join(0.5 * SLOW)
            if not self.dead:
                raise Failure("a clean end instead of a reset")
        say("reset", clock())
        if count is not None and self.got - start != int(count):
            raise Failure(f"a reset after {self.got - start} bytes")

    def do_broken(self):
        # Sends nothing: the relay must pass the reset on by itself.
        poller = select.poll()
        poller.register(self.sock, 0)
        poller.poll()
        say("broken", clock())
        try:
            self.put(1)
        except (BrokenPipeError, ConnectionResetError):
            return
        raise Failure("sending went well")

    def do_fin(self):
        say("fin", clock())
        self.sock.shutdown(socket.SHUT_WR)

    def do_rst(self):
        self.halt()
        say("rst", clock())
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER,
                             struct.pack("ii", 1, 0))
        self.sock.close()

    def do_close(self):
        self.halt()
        say("close", clock())
        self.sock.close()

    @staticmethod
    def do_note():
        say("note", clock())

    @staticmethod
    def do_sleep(seconds):
        time.sleep(float(seconds))

    @staticmethod
    def do_touch(path):
        with open(path, "w", encoding="ascii"):
            pass

    @staticmethod
    def do_await(path):
        while not os.path.exists(path):
            time.sleep(0.01)

    def do_slices(self, sizes):
        low, high = map(int, sizes.split("-"))
        for size in range(low, high + 1):
            self.put(size)

    def do_ones(self, count):
        for _ in range(int(count)):
            self.put(1)

    def do_oob(self, count):
        flags = socket.MSG_OOB if has_oob(self.sock.family) else 0
        for _ in range(int(count)):
            self.put(10)
            self.put(1, flags)
            time.sleep(0.002)

    def do_flood(self):
        def flood():
            poller = select.poll()
            poller.register(self.sock, select.POLLOUT)
            while not self.stop.is_set():
                if not poller.poll(50):
                    continue
                try:
                    self.put_some()
                except ConnectionResetError:
                    self.dead = True
                    return
                except OSError:
                    return

        self.thread = threading.Thread(target=flood, daemon=True)
        self.thread.start()

    def do_post(self, count):
        def post():
            try:
                self.put(int(count))
                self.do_fin()
            except OSError as e:
                self.dead = isinstance(e, ConnectionResetError)

        self.thread = threading.Thread(target=post, daemon=True)
        self.thread.start()

    def put_some(self):
        at = self.sent % PERIOD
        try:
            self.sent += self.sock.send(self.mine[at:at + CHUNK],
                                        socket.MSG_DONTWAIT)
        except BlockingIOError:
            pass

    @staticmethod
    def request(i):
        return (76, 15) if i % 4 == 0 else (5 + i * 37 % 96,)

    def do_ping(self, count):
        times = []
        for i in range(int(count)):
            start = time.monotonic()
            for size in self.request(i):
                self.put(size)
            self.do_recv(sum(self.request(i)))
            times.append((time.monotonic() - start) * 1000)
        times.sort()
        p85 = times[int(len(times) * 0.85)]
        say(f"p50 {times[len(times) // 2]:.3f} p85 {p85:.3f} "
            f"longest {times[-1]:.3f} ms")
        if p85 >= 20:
            raise Failure("too slow")

    def do_pong(self, count):
        for i in range(int(count)):
            size = sum(self.request(i))
            self.do_recv(size)
            self.put(size)

    def do_bulk(self, count):
        count = int(count)
        errors = []

        def send():
            digest = hashlib.sha256()
            block = bytearray(os.urandom(CHUNK + 4099))
            left, number = count, 0
            try:
                while left:
                    struct.pack_into("=Q", block, 0, number)
                    part = memoryview(block)[:min(left, len(block))]
                    self.sock.sendall(part)
                    digest.update(part)
                    left -= len(part)
                    number += 1
                say("sent", digest.hexdigest())
            except OSError as e:
                errors.append(e)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        digest = hashlib.sha256()
        buffer = bytearray(1 << 20)
        left = count
        while left:
            n = self.sock.recv_into(buffer, min(left, len(buffer)))
            if not n:
                raise Failure(f"an end, {left} bytes early")
            digest.update(memoryview(buffer)[:n])
            left -= n
        thread.join()
        if errors:
            raise errors[0]
        say("received", digest.hexdigest())


def run_ends(ends, steps):
    failures = []

    def run(end):
        try:
            end.run(steps)
        except Failure as e:
            failures.append(e)

    threads = [threading.Thread(target=run, args=(e,), daemon=True)
               for e in ends[1:]]
    for t in threads:
        t.start()
    run(ends[0])
    for t in threads:
        t.join()
    for f in failures[:5]:
        print(f"peer.py: {f}", file=sys.stderr)
    return 1 if failures else 0


def cut(steps):
    count = 1
    address, steps = steps[0], steps[1:]
    if steps[:1] == ["--count"]:
        count = int(steps[1])
        steps = steps[2:]
    for step in steps:
        if not hasattr(End, "do_" + step.partition("=")[0]):
            raise SystemExit(f"peer.py: no step '{step}'")
    return count, address, steps


def main_listen(words):
    count, address, steps = cut(words)
    sock = listener(address)
    ready()
    ends = [End("listen", sock.accept()[0]) for _ in range(count)]
    sock.close()
    return run_ends(ends, steps)


def main_connect(words):
    count, address, steps = cut(words)
    ends = []
    for _ in range(count):
        try:
            ends.append(End("connect", connection(address)))
        except ConnectionResetError:
            # It was reset before connect(2) returned.
            ends.append(End("connect", socket.socket(), dead=True))
    return run_ends(ends, steps)


def main_echo(words):
    server = listener(words[0])
    poller = select.epoll()
    poller.register(server, select.EPOLLIN)
    open_socks = {}
    ready()
    while True:
        for fd, _ in poller.poll():
            if fd == server.fileno():
                sock = server.accept()[0]
                open_socks[sock.fileno()] = sock
                poller.register(sock, select.EPOLLIN)
                continue
            sock = open_socks[fd]
            try:
                data = sock.recv(65536)
                if data:
                    sock.sendall(data)
                    continue
            except OSError:
                pass
            poller.unregister(fd)
            open_socks.pop(fd).close()


def main_hold(words):
    socks = [connection(words[1]) for _ in range(int(words[0]))]
    for sock in socks:
        sock.sendall(b"x")
    for sock in socks:
        if sock.recv(1) != b"x":
            raise SystemExit("peer.py: hold: no answer")
    ready()
    signal.pause()


def full_listener(address):
    """Returns a listener with a full queue, its connections, and one more
    that waits."""
    sock = listener(address, 0)
    queued = []
    length, limit = queue_of(sock)
    while length <= limit:
        s = socket.socket(sock.family)
        s.connect(sock.getsockname())
        queued.append(s)
        while length < len(queued):
            length, limit = queue_of(sock)
    waiting = socket.socket(sock.family)
    waiting.setblocking(False)
    waiting.connect_ex(sock.getsockname())
    return sock, queued, waiting


def queue_of(listening):
    """Returns how many connections wait to be accepted, and the limit, beyond
    which the kernel drops each SYN: tcpi_unacked and tcpi_sacked."""
    info = listening.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 104)
    return struct.unpack_from("=II", info, 24)


def main_void(words):
    held = full_listener(words[0])
    ready()
    signal.pause()
    del held


def main_late(words):
    count, address, steps = cut(words[1:])
    sock, queued, waiting = full_listener(address)
    ready()
    End.do_await(words[0])
    waiting.close()
    for s in queued:
        sock.accept()[0].close()
        s.close()
    ends = [End("listen", sock.accept()[0]) for _ in range(count)]
    return run_ends(ends, steps)


def main():
    words = sys.argv[1:]
    limit = 30.0
    if words[:1] == ["--limit"]:
        limit = float(words[1])
        words = words[2:]

    def late(*_):
        print("peer.py: the limit has passed", file=sys.stderr, flush=True)
        os._exit(3)

    signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, limit * SLOW)
    verbs = {"listen": main_listen, "connect": main_connect,
             "echo": main_echo, "hold": main_hold, "void": main_void,
             "late": main_late}
    if not words or words[0] not in verbs or len(words) < 2:
        print(__doc__, file=sys.stderr)
        return 2
    return verbs[words[0]](words[1:])


if __name__ == "__main__":
    status = main()
    sys.stdout.flush()
    os._exit(status)
