#!/usr/bin/env python3
"""A bad line between two namespaces: a TUN device in each. Packets arrive late,
twice, in another order, or not at all.

    impair.py NS=ADDR/LEN NS=ADDR/LEN DELAY JITTER LOSS DUP

DELAY and JITTER in milliseconds, LOSS and DUP in percent. Writes "ready" to the
descriptor named in $READY_FD. Runs until TERM, and then prints counts. Exit
status 77 where there are no TUN devices.
"""

import fcntl
import heapq
import os
import random
import select
import signal
import struct
import subprocess
import sys
import time

from model import within

TUNSETIFF = 0x400454CA
IFF_TUN, IFF_NO_PI = 1, 0x1000


def device(where):
    namespace, address = where.split("=")
    with within(namespace):
        try:
            tun = os.open("/dev/net/tun", os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(tun, TUNSETIFF, struct.pack(
                "16sH22x", b"line", IFF_TUN | IFF_NO_PI))
        except OSError as error:
            print(f"impair.py: {error}", file=sys.stderr)
            sys.exit(77)
        for command in (f"ip addr add {address} dev line",
                        "ip link set line up txqueuelen 1000"):
            subprocess.check_call(command.split())
    return tun


def main():
    ends = [device(where) for where in sys.argv[1:3]]
    delay, jitter, loss, dup = map(float, sys.argv[3:])
    rng = random.Random(7)
    late, number = [], 0  # heap of (time, number, end, packet)
    count = {"passed": 0, "lost": 0, "doubled": 0, "overtook": 0}
    last = [0, 0]

    def end(*_):
        print(count, flush=True)
        os._exit(0)

    signal.signal(signal.SIGTERM, end)
    poller = select.poll()
    for tun in ends:
        poller.register(tun, select.POLLIN)
    os.write(int(os.environ["READY_FD"]), b"ready\n")
    os.close(int(os.environ["READY_FD"]))
    while True:
        span = (late[0][0] - time.monotonic()) * 1000 if late else None
        for tun, _ in poller.poll(None if span is None else max(0, span)):
            packet = os.read(tun, 65536)
            to = ends.index(tun) ^ 1
            if rng.random() * 100 < loss:
                count["lost"] += 1
                continue
            doubled = rng.random() * 100 < dup
            count["doubled"] += doubled
            for _ in range(1 + doubled):
                when = time.monotonic() + (
                    delay + rng.uniform(-jitter, jitter)) / 1000
                number += 1
                heapq.heappush(late, (when, number, to, packet))
        while late and late[0][0] <= time.monotonic():
            _, which, to, packet = heapq.heappop(late)
            count["passed"] += 1
            count["overtook"] += which < last[to]
            last[to] = max(last[to], which)
            try:
                os.write(ends[to], packet)
            except OSError:
                count["lost"] += 1


if __name__ == "__main__":
    main()
