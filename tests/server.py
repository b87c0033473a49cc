#!/usr/bin/env python3
"""Clients and servers for server.bats and the scripts that it drives.

WHERE is ADDR/PORT. A server writes "ready" to the descriptor in $READY_FD.

load, follow, hold              as in listeners.py
restarts COUNT WHERE SERVER     COUNT times starts a target at SERVER and stops it,
                                under 50 connections a second; prints how many
                                connections failed while the target listened, and
                                the time until it was reached again
drain PID COUNT BYTES SECONDS WHERE SERVER
                                COUNT transfers of BYTES through WHERE to a target
                                at SERVER; sends TERM to PID, or KILL to -PID,
                                meanwhile; all transfers complete within SECONDS
reloads COUNT PID FILE          sends COUNT HUPs to PID; each time in FILE, which
                                is the output of notify, is later than its HUP
notify PATH                     prints what a UNIX socket receives, one field a
                                line; a path that begins with @ is abstract
syslog                          the same for /dev/log
process                         enters a new network namespace at each USR1; serves
                                the number of namespaces so far
udp WHERE                       a client; asks once more at each USR1
port WHERE                      answers UDP with the sender's port
"""

import ctypes
import os
import select
import signal
import socket
import sys
import threading
import time

from listeners import SLOW, SPAN, ask, bound, follow, hold, load, ready, say


def address(where):
    host, port = where.rsplit("/", 1)
    return host, int(port)


def answer(sock, text):
    while True:
        try:
            peer, _ = sock.accept()
        except OSError:
            return
        with peer:
            peer.recv(100)
            peer.sendall(text)


def restarts(count, where, server):
    # The number of the target that listens, or 0.
    up, failed, slow, stop = [0], [], [], threading.Event()

    def one():
        there = up[0]
        try:
            good = ask(where) == "here"
        except OSError:
            good = False
        if there and up[0] == there and not good:
            failed.append(1)

    def client():
        while not stop.is_set():
            threading.Thread(target=one).start()
            time.sleep(0.02)

    crowd = threading.Thread(target=client)
    crowd.start()
    for i in range(int(count)):
        sock = bound(server)
        threading.Thread(target=answer, args=[sock, b"here\n"]).start()
        start = time.monotonic()
        while True:
            try:
                if ask(where) == "here":
                    break
            except OSError:
                pass
            time.sleep(0.005)
        slow.append(time.monotonic() - start)
        up[0] = i + 1
        time.sleep(0.06)
        up[0] = 0
        time.sleep(0.02)
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()
        time.sleep(0.03)
    stop.set()
    crowd.join()
    say(f"{len(failed)} failed, worst recovery {max(slow) * 1000:.0f} ms")
    return bool(failed) or max(slow) > 0.1 * SLOW


def wait_for(instant):
    time.sleep(max(0, instant - time.monotonic()))


def drain(pid, count, size, seconds, where, server):
    pid, count, size, seconds = int(pid), int(count), int(size), float(seconds)
    listen, done, refused = bound(server), [], []
    block = os.urandom(size // 20)

    def serve(peer):
        with peer:
            for n in range(1, 21):
                peer.sendall(block)
                wait_for(began + n * seconds / 20)

    def client(sock):
        total = bytearray()
        with sock:
            while data := sock.recv(1 << 16):
                total += data
        done.append(bytes(total) == block * 20)

    threads = []
    for _ in range(count):
        sock = socket.create_connection(address(where), SPAN)
        sock.settimeout(SPAN)
        threads.append(threading.Thread(target=client, args=[sock]))
        peer, _ = listen.accept()
        threads.append(threading.Thread(target=serve, args=[peer]))
    began = time.monotonic()
    for thread in threads:
        thread.start()
    wait_for(began + seconds / 4)
    end = os.pidfd_open(abs(pid))
    start = time.monotonic()
    os.kill(abs(pid), signal.SIGTERM if pid > 0 else signal.SIGKILL)
    while time.monotonic() < start + SPAN:
        try:
            socket.create_connection(address(where), 1).close()
        except ConnectionRefusedError:
            break
        except OSError:
            pass
    closed = time.monotonic() - start
    for thread in threads:
        thread.join()
    select.select([end], [], [], SPAN)
    ended = time.monotonic() - start
    say(f"{sum(done)} of {count} complete, closed after {closed * 1000:.0f} ms,"
        f" ended after {ended * 1000:.0f} ms")
    return sum(done) != count or closed > 0.05 * SLOW or ended > 5 + 0.5 * SLOW


def notify(path):
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    sock.bind("\0" + path[1:] if path[0] == "@" else path)
    if path[0] == "/":
        os.chmod(path, 0o666)  # as /dev/log: mappers are user nobody
    ready()
    while True:
        say(sock.recv(4096).decode().strip())


def reloads(count, pid, path):
    def times():
        with open(path) as file:
            return [int(line[15:]) for line in file
                    if line.startswith("MONOTONIC_USEC=") and line[-1] == "\n"]

    seen = len(times())
    for _ in range(int(count)):
        start = time.monotonic_ns() // 1000
        os.kill(int(pid), signal.SIGHUP)
        end = time.monotonic() + SPAN
        while len(times()) == seen and time.monotonic() < end:
            time.sleep(0.001)
        seen += 1
        said = times()[seen - 1] - start
        if not 0 <= said < 1000000 * SLOW:
            sys.exit(f"reloads: {said} us after the request")


def syslog():
    notify("/dev/log")


def process():
    libc, generation = ctypes.CDLL(None, use_errno=True), 0
    up = False
    while True:
        if libc.unshare(0x40000000):  # CLONE_NEWNET
            raise OSError(ctypes.get_errno(), "unshare")
        os.system("ip link set lo up")
        sock, generation = bound("127.0.0.1/8080"), generation + 1
        threading.Thread(target=answer, daemon=True,
                         args=[sock, f"{generation}\n".encode()]).start()
        if not up:
            ready()
        up = True
        signal.sigwait([signal.SIGUSR1])
        sock.shutdown(socket.SHUT_RDWR)
        sock.close()


def udp(where):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.settimeout(SPAN)
        sock.connect(address(where))
        while True:
            sock.send(b"hello")
            say(sock.recv(100).decode())
            signal.sigwait([signal.SIGUSR1])


def port(where):
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as sock:
        sock.bind(address(where))
        ready()
        while True:
            _, peer = sock.recvfrom(100)
            sock.sendto(str(peer[1]).encode(), peer)


if __name__ == "__main__":
    # In all threads, because sigwait() takes the signal.
    signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
    sys.exit(globals()[sys.argv[1]](*sys.argv[2:]))
