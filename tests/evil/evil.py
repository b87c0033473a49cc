#!/usr/bin/env python3
"""Has a test build of nsfwd attack at one stage after the other (evil.c).

evil.py PROGRAM PORTS STAGE...   PORTS are those of a numeric map, of a proxy, of
                                 workers and of UDP. Prints for each attack what
                                 happened at each of these stages: "killed", "yes"
                                 or the errno; of a mapper it is in the log
"""

import errno
import os
import socket
import subprocess
import sys

# number, port, what the client says before the attack, and what it is answered
GREETING = b"\5\1\0"
STAGES = {
    "handshake": (1, 1, [], 0),
    "dial": (2, 0, [], 0),
    "relay": (3, 0, [], 0),
    "names": (2, 1, [b"CONNECT 127.0.0.1:8080 HTTP/1.1\r\n\r\n"], 0),
    "narrow": (3, 1, [b"CONNECT 127.0.0.1:8080 HTTP/1.1\r\n\r\n"], 39),
    "forward": (4, 1, [b"GET http://127.0.0.1:8080/ HTTP/1.1\r\n\r\n"], 0),
    "associate": (5, 1, [GREETING, b"\5\3\0\1" + bytes(6)], 2),
    "worker": (6, 2, [], 0),
    "udp": (7, 3, [], 0),
    "mapper": (8, 0, [], 0),
}


def attempt(number, stage, ports):
    code, port, words, answer = STAGES[stage]
    kind = socket.SOCK_DGRAM if stage == "udp" else socket.SOCK_STREAM
    with socket.socket(type=kind) as s:
        s.settimeout(5)
        s.bind((f"127.66.{number}.{code}", 0))
        got = b""
        try:
            s.connect(("127.0.0.1", ports[port]))
        except ConnectionError:
            pass  # the reset came first; what came before it can be read
        try:
            if stage in ("udp", "mapper"):
                s.send(b"x")
                return None
            for word in words:
                s.sendall(word)
                if word == GREETING:
                    got += s.recv(2)
            while b"\n" not in got[answer:]:
                more = s.recv(1000)
                if not more:
                    break
                got += more
        except (ConnectionError, BrokenPipeError):
            pass
    text = got[answer:].decode(errors="replace").split()
    if text[:1] != ["evil"]:
        return "killed"
    return "yes" if text[2] == "yes" else errno.errorcode.get(int(text[3]))


def main():
    program, ports = sys.argv[1], [int(p) for p in sys.argv[2].split(",")]
    names = subprocess.run([program], env={**os.environ, "EVIL": "list"},
                           stdout=subprocess.PIPE, check=True, text=True)
    only = os.environ.get("ONLY", "").split()
    for number, name in enumerate(names.stdout.split()):
        if not only or name in only:
            print(name, *(attempt(number, stage, ports)
                          for stage in sys.argv[3:]), flush=True)


main()
