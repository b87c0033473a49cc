#!/usr/bin/env python3
"""Clients and servers for faults.bats, limits.bats, endpoints.bats and others.

WHERE is ADDR/PORT (the address numeric, a zone as fe80::1%v0/80), /path or
@abstract. A server writes "ready" to the descriptor named in $READY_FD.

who NAME WHERE...          answers every line with NAME; a % in it is the port
hole WHERE                 has a full accept queue, so that every SYN is dropped.
                           After USR1 it accepts, reads to the end, and answers
                           with the digest
bulk WHERE BYTES SECONDS   sends each client a known stream, spread over SECONDS,
                           and checks the stream of the client
try COUNT WANT MIN-MAX WHERE [FROM]
                           clients in turn; each sends a line and sees WANT: the
                           answer, eof, reset, refused or an errno. The median of
                           the times lies in MIN-MAX milliseconds, in one of three
                           such rounds; 40 ms are added for each $TEST_SLOW
                           above 1
ask WHERE=WANT...          one client for each WHERE, in turn
crowd COUNT WHERE [FROM]   clients at once; prints a line of counts whenever one
                           changes. After USR1 the clients that are served close
bursts COUNT SOURCES CLIENTS WANT WHERE PID...
                           COUNT times: CLIENTS clients at once from each of
                           SOURCES addresses; of each address WANT clients are
                           served and the others reset. The processes PID, which
                           accept, are stopped until all have connected
gone HOW COUNT WHERE       clients that leave: HOW is fin, after 0.2 s, or rst, after
                           USR1
early BYTES WHERE          sends BYTES and the end of stream at once, then
                           checks the answer of a hole
swap BYTES SECONDS WHERE   the client of bulk, with a stream of its own
orphan SERVER KILLS COUNT WANT WHERE
                           kills the only child of SERVER, KILLS times, each time
                           with COUNT clients that connect at once
hand FIFO N WHERE... CMD   runs CMD with N listeners as systemd(1) does, named
                           web; a line of the FIFO has the number of listeners
                           to shut down
redis COUNT WHERE          requests in two small writes, and 100 in one
"""

import errno
import hashlib
import os
import re
import resource
import selectors
import signal
import socket
import struct
import sys
import threading
import time

BLOCK = 65536
PAD = hashlib.shake_128(b"nsfwd").digest(BLOCK - 8)
RESET = struct.pack("ii", 1, 0)
SLOW = int(os.environ.get("TEST_SLOW", "1"))  # as in helpers.bash
SPAN = 10 * SLOW  # seconds: the longest wait


def address(where):
    if where[0] == "/":
        return socket.AF_UNIX, where
    if where[0] == "@":
        return socket.AF_UNIX, "\0" + where[1:]
    host, _, port = where.rpartition("/")
    info = socket.getaddrinfo(host, int(port), type=socket.SOCK_STREAM,
                              flags=socket.AI_NUMERICHOST)
    return info[0][0], info[0][4]


def client(where, source=None):
    family, addr = address(where)
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.settimeout(SPAN)
    if source:
        sock.bind((source, 0))
    return sock, addr


def listener(where, backlog=1024):
    family, addr = address(where)
    sock = socket.socket(family, socket.SOCK_STREAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
    sock.bind(addr)
    sock.listen(backlog)
    return sock


def ready():
    fd = int(os.environ.get("READY_FD", "-1"))
    if fd >= 0:
        os.write(fd, b"ready\n")
        os.close(fd)


def many_descriptors():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def outcome(error):
    names = {errno.ECONNRESET: "reset", errno.EPIPE: "reset",
             errno.ECONNREFUSED: "refused"}
    if isinstance(error, TimeoutError):
        return "timeout"
    return names.get(error.errno) or errno.errorcode.get(error.errno, "?")


def say(*words):
    print(*words, flush=True)


# Servers.

def who(name, *wheres):
    many_descriptors()
    listeners = []
    select = selectors.DefaultSelector()
    for where in wheres:
        sock = listener(where)
        sock.setblocking(False)
        answer = name.replace("%", where.rpartition("/")[2]) + "\n"
        select.register(sock, selectors.EVENT_READ, answer.encode())
        listeners.append(sock)
    ready()
    while True:
        for key, _ in select.select():
            sock = key.fileobj
            try:
                if sock in listeners:
                    sock, _ = sock.accept()
                    select.register(sock, selectors.EVENT_READ, key.data)
                    continue
                got = sock.recv(4096)
                if b"\n" in got:
                    sock.sendall(key.data)
            except OSError:
                got = b""
            if not got and sock not in listeners:
                select.unregister(sock)
                sock.close()


def digest(sock):
    total, seen = 0, hashlib.sha256()
    while True:
        got = sock.recv(BLOCK)
        if not got:
            return f"{total} {seen.hexdigest()}\n".encode()
        total += len(got)
        seen.update(got)


def hole(where):
    def answer(sock):
        with sock:
            try:
                sock.sendall(digest(sock))
            except OSError:
                pass

    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    sock = listener(where, 0)
    fill = []
    for _ in range(4):
        filler, addr = client(where)
        filler.setblocking(False)
        filler.connect_ex(addr)
        fill.append(filler)
        time.sleep(0.02)
    try:
        fill[-1].getpeername()
        sys.exit("hole: it still accepts")
    except OSError:
        pass
    for filler in fill[1:]:
        filler.close()
    ready()
    signal.sigwait({signal.SIGUSR1})
    sock.listen(64)
    while True:
        threading.Thread(target=answer, args=(sock.accept()[0],),
                         daemon=True).start()


def block(i):
    return i.to_bytes(8, "big") + PAD


def pour(sock, total, seconds):
    """Sends the first `total` bytes of the stream, and its end."""
    start = time.monotonic()
    count = (total + BLOCK - 1) // BLOCK
    try:
        for i in range(count):
            late = start + seconds * i / count - time.monotonic()
            if late > 0:
                time.sleep(late)
            sock.sendall(block(i)[:min(BLOCK, total - i * BLOCK)])
        sock.shutdown(socket.SHUT_WR)
    except OSError:
        pass


def taste(sock, want=None):
    """Reads the stream to its end. Returns the result as text."""
    total, rest = 0, b""
    try:
        while True:
            got = sock.recv(4 * BLOCK)
            if not got:
                break
            rest += got
            while len(rest) >= BLOCK:
                if rest[:BLOCK] != block(total // BLOCK):
                    return f"wrong after {total}"
                rest = rest[BLOCK:]
                total += BLOCK
        if rest != block(total // BLOCK)[:len(rest)]:
            return f"wrong after {total}"
    except OSError as error:
        return f"{outcome(error)} after {total + len(rest)}"
    total += len(rest)
    return f"{'exact' if want in (None, total) else 'short'} {total}"


def both(sock, total, seconds, want=None):
    pouring = threading.Thread(target=pour, args=(sock, total, seconds),
                               daemon=True)
    pouring.start()
    found = taste(sock, want)
    if found.startswith("exact"):
        pouring.join()
    sock.close()
    return found


def bulk(where, total, seconds):
    def serve(sock):
        say(both(sock, int(total), float(seconds)))

    sock = listener(where)
    ready()
    while True:
        threading.Thread(target=serve, args=(sock.accept()[0],),
                         daemon=True).start()


# Clients.

def attempt(where, source=None, span=SPAN):
    start = time.monotonic()
    try:
        sock, addr = client(where, source)
        sock.settimeout(span)
        with sock:
            sock.connect(addr)
            sock.sendall(b"hello\n")
            saw = sock.recv(4096).decode().strip() or "eof"
    except OSError as error:
        saw = outcome(error)
    return saw, (time.monotonic() - start) * 1000


def try_(count, want, span, where, source=None):
    low, high = map(int, span.split("-"))
    high += 40 * (SLOW - 1)
    for _ in range(3):
        seen = [attempt(where, source) for _ in range(int(count))]
        wrong = [saw for saw, _ in seen if saw != want]
        middle = sorted(ms for _, ms in seen)[len(seen) // 2]
        say(f"{where}: {seen[0][0]}, {middle:.1f} ms")
        if wrong:
            sys.exit(f"{where}: {len(wrong)} of {count} saw {wrong}, not {want}")
        if middle <= high:
            break
    if not low <= middle <= high:
        sys.exit(f"{where}: {middle:.0f} ms, not {span}")


def ask(*pairs):
    wrong = 0
    for pair in pairs:
        where, _, want = pair.rpartition("=")
        saw, ms = attempt(where)
        say(f"{where}: {saw}, {ms:.1f} ms")
        wrong += saw != want
    if wrong:
        sys.exit(f"ask: {wrong} wrong, of {' '.join(pairs)}")


def crowd(count, where, source=None):
    many_descriptors()
    room = []
    signal.signal(signal.SIGUSR1, lambda *_: room.append(True))
    select = selectors.DefaultSelector()
    state = {}
    names = ("served", "waiting", "reset", "eof", "refused", "done")
    before = None

    def step(sock):
        if state[sock] == "new":
            state[sock] = "waiting"
            error = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            if error:
                raise OSError(error, "")
            sock.send(b"hello\n")
            select.modify(sock, selectors.EVENT_READ)
        elif sock.recv(4096):
            state[sock] = "served"
        else:
            state[sock] = "eof"
            select.unregister(sock)

    for _ in range(int(count)):
        sock, addr = client(where, source)
        sock.setblocking(False)
        state[sock] = "new"
        error = sock.connect_ex(addr)
        if error not in (0, errno.EINPROGRESS):
            state[sock] = outcome(OSError(error, ""))
            continue
        select.register(sock, selectors.EVENT_WRITE)
    while True:
        for key, _ in select.select(0.02):
            try:
                step(key.fileobj)
            except OSError as error:
                state[key.fileobj] = outcome(error)
                select.unregister(key.fileobj)
        if room:
            for sock in [s for s in state if state[s] == "served"]:
                state[sock] = "done"
                select.unregister(sock)
                sock.close()
        values = list(state.values())
        now = " ".join(f"{name}={values.count(name)}" for name in names)
        if now != before:
            say(now)
            before = now


def stop(pid):
    """Stops a process, the server before its mappers, which it continues."""
    os.kill(pid, signal.SIGSTOP)
    end = time.monotonic() + SPAN
    while time.monotonic() < end:
        with open(f"/proc/{pid}/status", encoding="ascii") as status:
            if re.search("^State:\t[Tt]", status.read(), re.M):
                return
    sys.exit(f"{pid} does not stop")


def burst(number, sources, clients, where, pids):
    """Returns how many clients of each address are served, not reset."""
    select = selectors.DefaultSelector()
    served = [0] * sources
    for pid in pids:
        stop(pid)
    for i in range(sources * clients):
        of = i // clients
        sock, addr = client(
            where, f"127.{number + 1}.{of // 250}.{of % 250 + 1}")
        sock.connect(addr)
        sock.sendall(b"hello\n")
        select.register(sock, selectors.EVENT_READ, of)
    socks = [key.fileobj for key in select.get_map().values()]
    # The server at last, because it replaces what was stopped too often.
    for pid in reversed(pids):
        os.kill(pid, signal.SIGCONT)
    while select.get_map():
        events = select.select(SPAN)
        if not events:
            sys.exit("burst: neither served nor reset")
        for key, _ in events:
            select.unregister(key.fileobj)
            try:
                served[key.data] += len(key.fileobj.recv(4096)) > 0
            except ConnectionResetError:
                pass
    for sock in socks:
        sock.close()
    return served


def bursts(count, sources, clients, want, where, *pids):
    many_descriptors()
    seen = []
    for i in range(int(count)):
        seen += burst(i, int(sources), int(clients), where,
                      [int(pid) for pid in pids])
    wrong = [n for n in seen if n != int(want)]
    say(f"{len(seen)} bursts: {len(wrong)} wrong: {wrong}")
    if wrong:
        sys.exit(1)


def gone(how, count, where):
    socks = []
    signal.pthread_sigmask(signal.SIG_BLOCK, {signal.SIGUSR1})
    for _ in range(int(count)):
        sock, addr = client(where)
        sock.connect(addr)
        sock.sendall(b"hello\n")
        socks.append(sock)
    if how == "rst":
        signal.sigwait({signal.SIGUSR1})
    else:
        time.sleep(0.2)
    for sock in socks:
        if how == "rst":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, RESET)
        sock.close()


def early(total, where):
    data = (PAD * (int(total) // len(PAD) + 1))[:int(total)]
    want = f"{total} {hashlib.sha256(data).hexdigest()}\n".encode()
    sock, addr = client(where)
    sock.connect(addr)
    sock.sendall(data)
    sock.shutdown(socket.SHUT_WR)
    got = b""
    while True:
        more = sock.recv(4096)
        if not more:
            break
        got += more
    if got != want:
        sys.exit(f"early: {got}, not {want}")


def swap(total, seconds, where):
    sock, addr = client(where)
    sock.connect(addr)
    found = both(sock, int(total), float(seconds), int(total))
    say(found)
    if not found.startswith("exact"):
        sys.exit(1)


def child_of(parent):
    for name in os.listdir("/proc"):
        if not name.isdigit():
            continue
        try:
            with open(f"/proc/{name}/stat", encoding="latin-1") as file:
                field = re.sub(r"^.*\) ", "", file.read(), flags=re.S).split()
        except OSError:
            continue
        if field[1] == parent and field[0] != "Z":
            return int(name)
    return 0


def orphan(server, kills, count, want, where):
    seen = []
    for _ in range(int(kills)):
        mapper, end = 0, time.monotonic() + SPAN
        while not mapper and time.monotonic() < end:
            mapper = child_of(server)
        if not mapper:
            sys.exit("orphan: no mapper")
        os.kill(mapper, signal.SIGKILL)
        clients = [threading.Thread(target=lambda: seen.append(attempt(where)))
                   for _ in range(int(count))]
        for thread in clients:
            thread.start()
        for thread in clients:
            thread.join()
    wrong = [saw for saw, _ in seen if saw != want]
    say(f"{len(seen)} clients, worst {max(ms for _, ms in seen):.0f} ms")
    if wrong:
        sys.exit(f"orphan: {len(wrong)} of {len(seen)} saw {wrong}")


def hand(order, count, *words):
    count = int(count)
    socks = [listener(where) for where in words[:count]]
    if os.fork() == 0:
        os.close(9)  # of the ready line
        os.setsid()
        if os.fork():
            os._exit(0)
        with open(order, encoding="ascii") as file:
            for sock in socks[:int(file.readline())]:
                sock.shutdown(socket.SHUT_RDWR)
        os.unlink(order)
        os._exit(0)
    os.wait()
    for i, sock in enumerate(socks):
        os.dup2(sock.fileno(), 3 + i)
        os.set_inheritable(3 + i, True)
    os.environ.update(LISTEN_FDS=str(count), LISTEN_PID=str(os.getpid()),
                      LISTEN_FDNAMES=":".join(["web"] * count))
    os.execvp(words[count], words[count:])


def redis(count, where):
    sock, addr = client(where)
    sock.connect(addr)
    sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    file = sock.makefile("rb")
    times = []
    for _ in range(int(count)):
        start = time.monotonic()
        sock.sendall(b"*1\r\n$4\r\n")
        sock.sendall(b"PING\r\n")
        if file.readline() != b"+PONG\r\n":
            sys.exit("redis: no PONG")
        times.append((time.monotonic() - start) * 1000)
    middle = sorted(times)[len(times) // 2]
    for i in range(100):
        sock.sendall(b"*2\r\n$4\r\nINCR\r\n$1\r\nn\r\n")
    for i in range(100):
        if file.readline() != f":{i + 1}\r\n".encode():
            sys.exit(f"redis: answer {i + 1} is another")
    say(f"median {middle:.2f} ms, worst {max(times):.2f} ms")
    if middle > 30:
        sys.exit("redis: median above 30 ms")


def main():
    commands = {"who": who, "hole": hole, "bulk": bulk, "try": try_,
                "ask": ask, "crowd": crowd, "bursts": bursts, "gone": gone,
                "early": early,
                "swap": swap, "orphan": orphan, "redis": redis,
                "hand": hand}
    commands[sys.argv[1]](*sys.argv[2:])


if __name__ == "__main__":
    main()
