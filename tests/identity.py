#!/usr/bin/env python3
"""identity.py halves SERVER PORT WORDS    sends WORDS, with "|" for an end of line,
to a map of the server in two halves. Stops the connection's process before each
half. The answer is "here", which is not HTTP."""

import os
import signal
import socket
import sys
import time

SLOW = int(os.environ.get("TEST_SLOW", "1"))


def children(pid):
    with open(f"/proc/{pid}/task/{pid}/children") as found:
        return [int(word) for word in found.read().split()]


def is_opener(pid):
    with open(f"/proc/{pid}/cmdline", "rb") as title:
        return title.read().startswith(b"nsfwd: opener")


def connection(server):
    end = time.monotonic() + 30 * SLOW
    while time.monotonic() < end:
        for mapper in children(server):
            for pid in children(mapper):
                if not is_opener(pid):
                    return pid
        time.sleep(0.01)
    sys.exit("no connection")


def halves(server, port, words):
    words = words.replace("|", "\r\n").encode()
    with socket.create_connection(("127.0.0.1", int(port)), 30 * SLOW) as sock:
        pid = connection(server)
        for half in words[:10], words[10:]:
            time.sleep(0.1)  # for the process to wait for input
            os.kill(pid, signal.SIGSTOP)
            sock.sendall(half)
        got = b""
        while b"here" not in got and b" 502 " not in got:
            data = sock.recv(1000)
            if not data:
                sys.exit(f"ends behind {got}")
            got += data
    end = time.monotonic() + 30 * SLOW
    while os.path.exists(f"/proc/{pid}"):
        if time.monotonic() > end:
            sys.exit("the connection does not end")
        time.sleep(0.01)


if __name__ == "__main__":
    sys.exit(globals()[sys.argv[1]](*sys.argv[2:]))
