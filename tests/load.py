#!/usr/bin/env python3
"""Many clients at once, or long connections. ADDR is ADDRESS:PORT.

echo ADDR             both protocols, any number of clients, until killed
idle N SECONDS ADDR   N connections to an echo, used once, and once more after
                      SECONDS
flows N COUNT SHARE ADDR
                      N UDP clients of an echo send COUNT datagrams each; every
                      answer is a datagram of that client, and at least SHARE
                      percent are answered, in one of three rounds
slow N SECONDS FROM TO
                      N readers of 1 KiB a second, each with a writer that sends
                      as fast as it can; prints the maximum of bytes that are
                      under way, and stays connected until its input ends

A command that listens writes "ready" to the descriptor named in $READY_FD. Exit
status 1 and a line on stderr if a check fails.
"""

import os
import resource
import selectors
import socket
import struct
import sys
import time

from model import make_socket, receive

SLOW = int(os.environ.get("TEST_SLOW", "1"))


def ready():
    os.write(int(os.environ["READY_FD"]), b"ready\n")
    os.close(int(os.environ["READY_FD"]))


def many_descriptors():
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (hard, hard))


def listener(text, backlog=4096):
    sock, address = make_socket(text)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(address)
    sock.listen(backlog)
    return sock


def echo(where):
    server, (udp, address) = listener(where), make_socket(
        where, socket.SOCK_DGRAM)
    udp.bind(address)
    udp.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4 << 20)
    poller = selectors.DefaultSelector()
    for sock in server, udp:
        sock.setblocking(False)
        poller.register(sock, selectors.EVENT_READ)
    ready()
    while True:
        for key, _ in poller.select():
            sock = key.fileobj
            try:
                if sock is server:
                    client = server.accept()[0]
                    poller.register(client, selectors.EVENT_READ)
                elif sock is udp:
                    udp.sendto(*udp.recvfrom(65536))
                elif data := sock.recv(65536):
                    sock.sendall(data)
                else:
                    raise ConnectionResetError
            except BlockingIOError:
                pass
            except OSError:
                if sock not in (server, udp):
                    poller.unregister(sock)
                    sock.close()


def idle(count, seconds, where):
    def ask():
        for number, sock in enumerate(socks):
            sock.sendall(struct.pack("!I", number))
        for number, sock in enumerate(socks):
            if receive(sock, 4) != struct.pack("!I", number):
                sys.exit(f"idle: connection {number} has another answer")

    socks = []
    for _ in range(int(count)):
        sock, address = make_socket(where)
        sock.settimeout(60)
        sock.connect(address)
        socks.append(sock)
    ask()
    print("asked", flush=True)
    time.sleep(float(seconds))
    ask()


def flows(count, each, share, where):
    for _ in range(3):
        total = int(count) * int(each)
        answered = round_of_flows(count, each, where)
        print(f"{answered} answers to {total}", flush=True)
        if answered * 100 >= total * float(share):
            return
    sys.exit("flows: too few")


def round_of_flows(count, each, where):
    socks, total, answered, lost = {}, 0, 0, 0
    poller = selectors.DefaultSelector()
    for number in range(int(count)):
        sock, address = make_socket(where, socket.SOCK_DGRAM)
        sock.connect(address)
        sock.setblocking(False)
        socks[sock] = number
        poller.register(sock, selectors.EVENT_READ)

    def collect(span):
        found = 0
        for key, _ in poller.select(span):
            data = key.fileobj.recv(65536)
            number, nth = struct.unpack_from("!II", data)
            want = struct.pack("!II", number, nth) * (1 + nth % 50)
            if number != socks[key.fileobj] or data != want:
                sys.exit("flows: the answer of another")
            found += 1
        return found

    for nth in range(int(each)):
        total += len(socks)
        for sock, number in socks.items():
            sock.send(struct.pack("!II", number, nth) * (1 + nth % 50))
        answered += collect(0.002)
        # No more under way than the buffers of a slow machine hold.
        while total - answered - lost > 240:
            found = collect(0.2 * SLOW)
            answered += found
            lost += 0 if found else total - answered - lost
    while found := collect(0.5 * SLOW):
        answered += found
    return answered


def slow(count, seconds, source, target):
    server = listener(target)
    writers, readers = [], []
    for _ in range(int(count)):
        sock, address = make_socket(source)
        sock.connect(address)
        sock.setblocking(False)
        writers.append(sock)
        readers.append(server.accept()[0])
    flight = [0] * len(writers)
    most, block, end = 0, bytes(1 << 16), time.monotonic() + float(seconds)
    while time.monotonic() < end:
        tick = time.monotonic() + 0.1
        while time.monotonic() < tick:
            moved = 0
            for i, writer in enumerate(writers):
                try:
                    moved += (n := writer.send(block))
                    flight[i] += n
                except BlockingIOError:
                    pass
            most = max(most, *flight)
            if not moved:
                time.sleep(0.02)
        for i, reader in enumerate(readers):
            flight[i] -= len(reader.recv(102))
    print(most, flush=True)
    sys.stdin.read(1)


if __name__ == "__main__":
    many_descriptors()
    globals()[sys.argv[1]](*sys.argv[2:])
