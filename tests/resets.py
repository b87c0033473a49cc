#!/usr/bin/env python3
"""Bytes in front of a reset, through any forwarder: how many of them arrive.

    resets.py [--count N] [--size BYTES] [--least N] CASE FROM=TO [COMMAND...]

FROM is where the forwarder listens and TO where it connects to, each
[NS@]HOST:PORT, or the path of a UNIX socket. A CASE is

    direct   the client posts 30 MB, and reads meanwhile; the server answers 413
             with BYTES of body without reading them, and closes, which is a
             reset
    proxy    the same, through a proxy that is asked for TO in plain HTTP
    connect  the same by CONNECT
    words    the client reads a little of what the server sends without end,
             sends BYTES and closes, which is a reset
    stdio    COMMAND relays standard input and output to TO: as direct, with a
             client that writes into its input and reads its output

When the socket is closed, the kernel of the sender discards the bytes that have
not arrived; the more bytes, the likelier. With --acked the socket is closed when
all bytes have arrived at the next socket. --curl makes curl the client. curl
sometimes misses the answer on a direct connection, too, because it gives up when
a write fails.

N clients connect in turn. K is the number of clients, or for `words` of servers,
that got every byte. Prints "K of N"; exit status 1 if K is less than --least.
"""

import argparse
import contextlib
import fcntl
import multiprocessing
import os
import select
import socket
import struct
import subprocess
import sys
import tempfile
import termios
import threading
import time

from model import make_socket

LIMIT = 10 * int(os.environ.get("TEST_SLOW", "1"))
UPLOAD = 30_000_000
HEAD = (b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\n"
        b"Content-Length: %d\r\n\r\n")
BLOCK = bytes(range(256)) * 256


def endpoint(text):
    """Returns a socket, and the address."""
    if text.startswith("/"):
        return socket.socket(socket.AF_UNIX), text
    return make_socket(text)


def unacked(sock):
    """Returns how many bytes the other end has not received (SIOCOUTQ)."""
    return struct.unpack("i", fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4)))[0]


def within(text):
    namespace = text.rpartition("@")[0]
    return ["nsenter", f"--net=/run/netns/{namespace}"] if namespace else []


class Server:
    """A process that serves one connection at a time."""

    def __init__(self, options, to):
        self.size = options.size
        self.acked = options.acked
        self.listener, address = endpoint(to)
        self.listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        self.listener.bind(address)
        if to.startswith("/"):
            os.chmod(to, 0o777)
        self.listener.listen(64)
        self.serve = self.words if options.case == "words" else self.answer
        self.over, self.out = os.pipe()
        self.process = multiprocessing.Process(target=self.run, daemon=True)
        self.process.start()
        self.listener.close()

    def run(self):
        while True:
            sock = self.listener.accept()[0]
            sock.settimeout(LIMIT)
            good = False
            with sock, contextlib.suppress(OSError):
                good = self.serve(sock)
            os.write(self.out, b"y" if good else b"n")

    def served(self):
        """Returns true if the server got all bytes of the ended connection."""
        if not select.select([self.over], [], [], LIMIT)[0]:
            sys.exit("the server hears nothing")
        return os.read(self.over, 1) == b"y"

    def answer(self, sock):
        head = b""
        while b"\r\n\r\n" not in head:
            head += sock.recv(4096)
        sock.sendall(HEAD % self.size + BLOCK[:1] * self.size)
        # Bytes of the client have arrived, and stay unread.
        select.select([sock], [], [], 1)
        while self.acked and unacked(sock):
            time.sleep(0.001)

    def words(self, sock):
        def flood():
            with contextlib.suppress(OSError):
                while True:
                    sock.sendall(BLOCK)

        flooding = threading.Thread(target=flood, daemon=True)
        flooding.start()
        got = 0
        try:
            while data := sock.recv(65536):
                got += len(data)
        except OSError:
            pass
        flooding.join()
        return got == self.size


def curl(options, start, host):
    words = {"proxy": ["-x"], "connect": ["-p", "-x"]}.get(options.case, [])
    listens = start.rpartition("@")[2]
    if words:
        words += [listens]
    elif start.startswith("/"):
        words = ["--unix-socket", start]
    else:
        host = listens
    with tempfile.NamedTemporaryFile() as out:
        said = subprocess.run(
            [*within(start), "curl", "-sS", "-m", str(LIMIT), "-H", "Expect:",
             "-T", options.upload, "-o", out.name, "-w", "%{http_code}",
             *words, f"http://{host}/"],
            check=False, stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL, text=True).stdout
        out.seek(0, 2)
        return said == "413" and out.tell() == options.size


def read_all(read):
    """Returns the number of bytes up to the end or a reset."""
    got = 0
    with contextlib.suppress(ConnectionError):
        while data := read(65536):
            got += len(data)
    return got


def post(write, head):
    with contextlib.suppress(OSError):
        write(head)
        for _ in range(UPLOAD // len(BLOCK)):
            write(BLOCK)


def by_socket(options, start, host):
    sock, address = endpoint(start)
    sock.settimeout(LIMIT)
    url = f"http://{host}/" if options.case == "proxy" else "/"
    with sock:
        sock.connect(address)
        if options.case == "connect":
            sock.sendall(f"CONNECT {host} HTTP/1.1\r\n\r\n".encode())
            while not sock.recv(65536).endswith(b"\r\n\r\n"):
                pass
        head = (f"POST {url} HTTP/1.1\r\nHost: {host}\r\n"
                f"Content-Length: {UPLOAD}\r\n\r\n").encode()
        posting = threading.Thread(target=post, args=(sock.sendall, head))
        posting.start()
        got = read_all(sock.recv)
        posting.join()
    # A proxy may add its own "Connection: close".
    return got - len(HEAD % options.size) - options.size in (
        0, len("Connection: close\r\n"))


def by_stdio(options, *_):
    with subprocess.Popen(options.command, stdin=subprocess.PIPE,
                          stdout=subprocess.PIPE, bufsize=0,
                          stderr=subprocess.DEVNULL) as process:
        posting = threading.Thread(target=post, args=(
            process.stdin.write, b"POST / HTTP/1.1\r\n\r\n"))
        posting.start()
        got = read_all(process.stdout.read)
        process.wait()
        posting.join()
        process.stdin = None
    return got == len(HEAD % options.size) + options.size


def last_words(options, start, _):
    """Returns true if the server got every byte of the client."""
    sock, address = endpoint(start)
    sock.settimeout(LIMIT)
    with sock:
        sock.connect(address)
        sock.recv(100)
        sock.sendall(bytes(options.size))
        select.select([sock], [], [], LIMIT)
        while options.acked and unacked(sock):
            time.sleep(0.001)
    return 0


def options_of(words):
    parser = argparse.ArgumentParser(
        description=__doc__, formatter_class=argparse.RawTextHelpFormatter)
    parser.add_argument("--count", type=int, default=60)
    parser.add_argument("--size", type=int, default=5000)
    parser.add_argument("--least", type=int, default=0)
    parser.add_argument("case", choices=("direct", "proxy", "connect", "words",
                                         "stdio"))
    parser.add_argument("--curl", action="store_true")
    parser.add_argument("--acked", action="store_true")
    parser.add_argument("ends", metavar="FROM=TO")
    parser.add_argument("command", nargs=argparse.REMAINDER)
    return parser.parse_args(words)


def main():
    options = options_of(sys.argv[1:])
    start, to = options.ends.split("=", 1)
    server = Server(options, to)
    client = {"words": last_words, "stdio": by_stdio}.get(
        options.case, curl if options.curl else by_socket)
    good = 0
    with tempfile.NamedTemporaryFile() as upload:
        upload.truncate(UPLOAD)
        options.upload = upload.name
        for _ in range(options.count):
            good += client(options, start, to.rpartition("@")[2])
            good += server.served() and options.case == "words"
    print(f"{good} of {options.count}", flush=True)
    return 1 if good < options.least else 0


if __name__ == "__main__":
    sys.exit(main())
