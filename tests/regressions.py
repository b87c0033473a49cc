#!/usr/bin/env python3
"""Tests of regressions.bats that hold both ends of a connection in one process.

regressions.py urgent PORT TARGET         an urgent byte and an end behind spliced data
regressions.py unread NSFWD               nobody reads the log
regressions.py replace SERVER NS          two mappers exit while NS is half removed
regressions.py starve NSFWD               replies beside an upload
"""

import fcntl
import multiprocessing
import os
import signal
import socket
import struct
import subprocess
import sys
import threading
import time

F_SETPIPE_SZ = 1031
SLOW = int(os.environ.get("TEST_SLOW", "1"))


def listener(port, **options):
    server = socket.socket()
    server.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    for name, value in options.items():
        server.setsockopt(socket.SOL_SOCKET, getattr(socket, name), value)
    server.bind(("127.0.0.1", port))
    server.listen()
    server.settimeout(10 * SLOW)
    return server


def urgent(port, target):
    server = listener(int(target), SO_RCVBUF=16384)
    client = socket.create_connection(("127.0.0.1", int(port)))
    peer, _ = server.accept()
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_OOBINLINE, 1)
    peer.settimeout(20 * SLOW)
    client.settimeout(0.5)
    sent = 0
    try:
        while sent < 1 << 26:
            sent += client.send(b"x" * 65536)
    except socket.timeout:
        pass
    client.settimeout(20 * SLOW)

    def finish():
        client.send(b"U", socket.MSG_OOB)
        client.sendall(b"T" * 1000)
        client.shutdown(socket.SHUT_WR)

    thread = threading.Thread(target=finish)
    thread.start()
    got = 0
    # Slow reads, so that urgent byte, tail and end are in the relay together.
    while True:
        if got < 1 << 22:
            time.sleep(0.001)
        data = peer.recv(65536)
        if not data:
            break
        got += len(data)
    thread.join()
    print(f"sent {sent + 1001}, got {got} and a clean end")
    return got != sent + 1001


def start(command, args, **files):
    ready, said = os.pipe()
    server = subprocess.Popen([*command, f"--ready-fd={said}", *args],
                              pass_fds=[said], **files)
    os.close(said)
    os.read(ready, 6)
    os.close(ready)
    return server


def unread(program):
    readable, writable = os.pipe()
    fcntl.fcntl(writable, F_SETPIPE_SZ, 4096)
    server = start([program], ["127.0.0.1:8000=127.0.0.1:1"], stderr=writable)
    answered = 0
    try:
        for _ in range(100):
            with socket.socket() as client:
                client.settimeout(2 * SLOW)
                try:
                    client.connect(("127.0.0.1", 8000))
                    client.recv(1)
                except ConnectionResetError:
                    answered += 1
        server.send_signal(signal.SIGTERM)
        status = server.wait(3 * SLOW)
    finally:
        server.kill()
    print(f"{answered} of 100 answered, status {status}")
    return answered != 100 or status != 0


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as file:
        return [int(word) for word in file.read().split()]


def until(seconds, true):
    end = time.monotonic() + seconds * SLOW
    while not true():
        if time.monotonic() > end:
            return False
        time.sleep(0.02)
    return True


def replace(server, name):
    server, path = int(server), f"/run/netns/{name}"
    first, second = children(server)
    # The empty file of `ip netns add` is not a namespace.
    subprocess.check_call(["umount", path])
    until(2, lambda: children(server) == [first])
    os.kill(first, signal.SIGKILL)
    if not until(3, lambda: len(set(children(server)) - {first}) == 1):
        return True
    subprocess.check_call(["unshare", "-n", "sh", "-c",
                           f"ip link set lo up; mount --bind /proc/self/ns/net {path}"])
    both = until(3, lambda: len(children(server)) == 2)
    print(f"mappers: {first} and {second}, then {children(server)}")
    return not both


def starve(program):
    # pipe2(2) fails, because the fault shows best when the relay copies.
    nsfwd = start(["strace", "-f", "-qq", "--seccomp-bpf", "-o", "/dev/null",
                   "-e", "trace=pipe2", "-e", "inject=pipe2:error=EMFILE",
                   program, "--no-sandbox"], ["127.0.0.1:8000=127.0.0.1:8001"])
    server, = children(nsfwd.pid)
    try:
        behind = bytes_ahead()
        if behind > 3e6:
            behind = min(behind, bytes_ahead())
    finally:
        os.kill(server, signal.SIGTERM)
        nsfwd.wait(5 * SLOW)
    print(f"a reply: behind {behind / 1e6:.2f} MB of the busy direction")
    return behind > 3e6


def bytes_ahead():
    """Returns how many bytes of the busy direction the relay passes between two
    replies, on average. On a slow machine a reply takes longer, but not that."""
    server = listener(8001)
    client = socket.create_connection(("127.0.0.1", 8000))
    peer, _ = server.accept()
    client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    stop = time.monotonic() + 3

    def upload():
        block = b"x" * (1 << 20)
        while time.monotonic() < stop:
            client.sendall(block)
        client.shutdown(socket.SHUT_WR)

    def take():
        while peer.recv(1 << 20):
            pass

    # Processes, so that the replies never wait for another thread of Python.
    busy = [multiprocessing.Process(target=t) for t in (upload, take)]
    for process in busy:
        process.start()
    replies = 0
    while time.monotonic() < stop - 0.3:
        peer.sendall(b"12345678")
        client.recv(8, socket.MSG_WAITALL)
        replies += 1
    # tcpi_bytes_received (tcp(7))
    passed, = struct.unpack_from("=Q", peer.getsockopt(
        socket.IPPROTO_TCP, socket.TCP_INFO, 136), 128)
    for process in busy:
        process.join()
    for sock in (client, peer, server):
        sock.close()
    assert passed > 1e7, "no busy direction"
    return passed / replies


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](*sys.argv[2:]))
