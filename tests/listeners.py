#!/usr/bin/env python3
"""Clients and servers for listeners.bats, and what server.py shares with them.

WHERE is ADDR/PORT (over TCP), tcp:ADDR/PORT, udp:ADDR/PORT or unix:PATH. A server
writes "ready" to the descriptor in $READY_FD.

server NAME WHERE...      answers every line, or datagram, with NAME; prints
                          "accepted" for each connection
follow SECONDS NAME WHERE...
                          asks until each WHERE answers NAME; prints the seconds
load RATE COUNT WHERE PID HUPS [MOST]
                          COUNT clients, RATE a second at most, each asks once; PID
                          gets HUPS signals meanwhile, each when it has taken the
                          one before; fails if more than MOST (0) clients fail
hold WHERE                a connection; asks once more at each USR1
kills SECONDS PORT        destroys the listener of that port, over and over
trap PID                  stops a process until this one is killed, unnoticed by its
                          parent
handed WHERE NAME CMD...  executes CMD with a listener as systemd(1) hands it over
"""

import ctypes
import os
import signal
import socket
import subprocess
import sys
import threading
import time

SLOW = int(os.environ.get("TEST_SLOW", "1"))  # as in helpers.bash
SPAN = 10 * SLOW  # seconds that a client waits for an answer
REQUEST = b"GET /metrics HTTP/1.0\r\n\r\n"  # --stats answers it


def say(*words):
    print(*words, flush=True)


def ready():
    fd = int(os.environ["READY_FD"])
    os.write(fd, b"ready\n")
    os.close(fd)


def parse(where):
    kind, _, rest = where.partition(":")
    if kind not in ("tcp", "udp", "unix"):
        kind, rest = "tcp", where
    if kind == "unix":
        return socket.AF_UNIX, socket.SOCK_STREAM, rest
    host, port = rest.rsplit("/", 1)
    type_ = socket.SOCK_STREAM if kind == "tcp" else socket.SOCK_DGRAM
    family, *_, address = socket.getaddrinfo(host, int(port), type=type_)[0]
    return family, type_, address


def bound(where):
    family, type_, address = parse(where)
    sock = socket.socket(family, type_)
    if type_ == socket.SOCK_STREAM:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    if type_ == socket.SOCK_STREAM:
        sock.listen(1024)
    return sock


def ask(where, span=SPAN, words=b"hello\n"):
    family, type_, address = parse(where)
    with socket.socket(family, type_) as sock:
        sock.settimeout(span)
        sock.connect(address)
        sock.sendall(words)
        return sock.recv(100).decode().strip()


def server(name, *wheres):
    answer = f"{name}\n".encode()

    def client(peer):
        with peer:
            while peer.recv(100):
                peer.sendall(answer)

    def serve(sock):
        while sock.type == socket.SOCK_DGRAM:
            _, peer = sock.recvfrom(100)
            sock.sendto(answer, peer)
        while True:
            peer, _ = sock.accept()
            say("accepted")
            threading.Thread(target=client, args=[peer], daemon=True).start()

    for where in wheres:
        threading.Thread(target=serve, args=[bound(where)], daemon=True).start()
    ready()
    signal.pause()


def follow(seconds, want, *wheres):
    start = time.monotonic()
    for where in wheres:
        while True:
            try:
                got = ask(where, 0.3 * SLOW)
            except OSError as error:
                got = str(error)
            took = time.monotonic() - start
            if got == want or took > SLOW * float(seconds):
                break
            time.sleep(0.01)
        say(f"{where}: {got} after {took * 1000:.0f} ms")
        if got != want:
            return 1
    return 0


def pending(pid, number):
    with open(f"/proc/{pid}/status", encoding="ascii") as status:
        masks = [int(line.split()[1], 16) for line in status
                 if line.startswith(("SigPnd:", "ShdPnd:"))]
    return any(mask >> (number - 1) & 1 for mask in masks)


def hup(pid):
    end = time.monotonic() + SPAN
    while pending(pid, signal.SIGHUP) and time.monotonic() < end:
        time.sleep(0.005)
    os.kill(int(pid), signal.SIGHUP)


def load(rate, count, where, pid, hups, most=0):
    rate, count, hups = float(rate), int(count), int(hups)
    failed, threads, start = [], [], time.monotonic()
    due = start

    def one():
        try:
            if ask(where, words=REQUEST) == "":
                failed.append("empty")
        except OSError as error:
            failed.append(str(error))

    for i in range(count):
        # Clients that are late do not come all at once.
        due = max(due + 1 / rate, time.monotonic())
        time.sleep(max(0, due - time.monotonic()))
        if hups and i % (count // hups) == count // hups // 2:
            hup(pid)
        threads.append(threading.Thread(target=one))
        threads[-1].start()
    for thread in threads:
        thread.join()
    say(f"{len(failed)} of {count} failed, {time.monotonic() - start:.1f} s",
        sorted(set(failed)))
    return len(failed) > int(most)


def hold(where):
    family, type_, address = parse(where)
    with socket.socket(family, type_) as sock:
        sock.settimeout(SPAN)
        sock.connect(address)
        while True:
            sock.sendall(b"hello\n")
            say(sock.recv(100).decode().strip())
            signal.sigwait([signal.SIGUSR1])


def kills(span, port):
    end, n = time.monotonic() + float(span), 0
    while time.monotonic() < end:
        out = subprocess.run(["ss", "-HKltn", f"sport = :{port}"], check=False,
                             capture_output=True, text=True).stdout
        n += out.count("LISTEN")
        time.sleep(0.01)
    say(f"{n} killed")


def trap(pid):
    libc = ctypes.CDLL(None, use_errno=True)
    for request in 0x4206, 0x4207:  # PTRACE_SEIZE, PTRACE_INTERRUPT
        if libc.ptrace(request, int(pid), None, None) != 0:
            raise OSError(ctypes.get_errno(), "ptrace")
    os.waitpid(int(pid), 0x40000000)  # __WALL
    ready()
    signal.pause()


def handed(where, name, *command):
    sock = bound(where)
    os.dup2(sock.fileno(), 3)
    os.set_inheritable(3, True)
    os.environ |= {"LISTEN_FDS": "1", "LISTEN_PID": str(os.getpid()),
                   "LISTEN_FDNAMES": name}
    os.execv(command[0], command)


if __name__ == "__main__":
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    sys.exit(globals()[sys.argv[1]](*sys.argv[2:]))
