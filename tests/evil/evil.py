#!/usr/bin/env python3
"""Has a test build of nsfwd attack at one stage after the other, see evil.c.

evil.py PROGRAM LOG PORTS STAGE...
    PORTS are those of a numeric map, of a proxy, of workers, of workers with a
    name, the first of many numeric maps for TCP and for UDP, because an attack
    may end the mapper, the first of many proxies, and that of a proxy with
    workers. After an attack that did not end its process the map has to serve
    another client, unless the attack says that the map is full. Prints for each attack how it ended at each
    stage: "yes", an errno or "killed". With ATTACKS in the environment, only
    these.
"""

import errno
import os
import re
import select
import socket
import subprocess
import sys
import time

# The number in evil.c, the index of the port, what the client sends before the
# attack, and the number of bytes that it gets before.
CONNECT = [b"CONNECT 127.0.0.1:8080 HTTP/1.1\r\n\r\n"]
STAGES = {
    "handshake": (1, 1, [], 0),
    "dial": (2, 0, [], 0),
    "relay": (3, 0, [], 0),
    "names": (2, 1, CONNECT, 0),
    "narrow": (3, 1, CONNECT, 39),
    "forward": (4, 1, [b"GET http://127.0.0.1:8080/ HTTP/1.1\r\n\r\n"], 0),
    "associate": (5, 1, [b"\5\1\0", b"\5\3\0\1" + bytes(6)], 2),
    "worker": (6, 2, [], 0),
    "worker+names": (6, 3, [], 0),
    "udp": (7, 4, [], 0),
    "mapper": (8, 4, [], 0),
    "proxy": (8, 5, [], 0),
    "kept": (9, 6, [], 0),
}
WAIT = 20  # seconds, for what comes at once
MAPPERS = ("udp", "mapper", "proxy")
ECHO = b"\0\0\0\1\x7f\0\0\1" + (8080).to_bytes(2, "big")  # of SOCKS


def verdict(words):
    """The words are: evil STAGE NAME yes|no NUMBER."""
    if words[:1] != ["evil"]:
        return "killed"
    return "yes" if words[3] == "yes" else errno.errorcode.get(int(words[4]))


def be_served(port):
    """Connections of others, at the same time."""
    for _ in range(20):
        with socket.create_connection(("127.0.0.1", port), WAIT) as s:
            s.sendall(b"hello\n")
            assert s.recv(9)


def serve_datagrams(port):
    """A SOCKS client's datagrams, which ns2 sends back."""
    with socket.create_connection(("127.0.0.1", port), WAIT) as s, \
            socket.socket(type=socket.SOCK_DGRAM) as u:
        s.sendall(b"\5\1\0")
        assert s.recv(2) == b"\5\0"
        s.sendall(b"\5\3\0\1" + bytes(6))
        reply = s.recv(10)
        assert reply[1] == 0, reply
        u.settimeout(WAIT)
        u.sendto(ECHO + b"x",
                 ("127.0.0.1", int.from_bytes(reply[8:], "big")))
        assert u.recv(99) == ECHO + b"x"


def serve_next(stage, port):
    """The next client of the map, which may get the slot of the attacker."""
    if stage == "associate":
        return serve_datagrams(port)
    with socket.create_connection(("127.0.0.1", port), WAIT) as s:
        if STAGES[stage][1] in (1, 6):
            s.sendall(CONNECT[0])
            assert b" 200 " in s.recv(39)
        s.sendall(b"hello\n")
        assert s.recv(9)


def be_next(s, port):
    """Clients that stay, so that who attacks s is given the next one, and tells
    that one how the attack has ended."""
    waiting = [s]
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        for sock in select.select(waiting, [], [], 0.05)[0]:
            try:
                said = sock.recv(1000)
            except ConnectionError:
                said = b""
            if said:
                return said
            waiting.remove(sock)
        waiting.append(socket.create_connection(("127.0.0.1", port), WAIT))
        waiting[-1].sendall(b"x")
    return b""


def attempt(name, number, port_offset, stage, ports):
    code, port, sends, answer = STAGES[stage]
    in_mapper = stage in MAPPERS
    kind = socket.SOCK_DGRAM if stage == "udp" else socket.SOCK_STREAM
    got = b""
    with socket.socket(type=kind) as s:
        s.settimeout(WAIT)
        s.bind((f"127.66.{number}.{code}", 0))
        try:
            s.connect(("127.0.0.1",
                       ports[port] + (port_offset if in_mapper else 0)))
        except ConnectionError:
            pass  # reset already, but what came before can be read
        try:
            for data in sends:
                s.sendall(data)
                if len(sends) > 1 and not got:
                    got += s.recv(2)
            if in_mapper:
                s.send(b"x")
                return None
            if name == "failures":
                be_served(ports[0])
            if name in ("next_client", "keep_client") and stage == "kept":
                got = be_next(s, ports[port])
            while b"\n" not in got[answer:]:
                more = s.recv(1000)
                if not more:
                    break
                got += more
        except (ConnectionError, BrokenPipeError):
            pass
        if got == b"again\n":
            return attempt(name, number, port_offset, stage, ports)
        end = verdict(got[answer:].decode(errors="replace").split())
        if end != "killed" and (name, end) != ("scoreboard_own", "yes"):
            try:
                serve_next(stage, ports[port])
            except OSError as e:
                sys.exit(f"after {name} at {stage}: {e}")
    return end


def in_log(log, name, stage, port):
    """What the log says of an attack by a mapper."""
    line = re.compile(f"evil {STAGES[stage][0]} {name} .*|.*'"
                      f"{'udp:' if stage == 'udp' else ''}ns1@127.0.0.1:"
                      f"{port}=.*killed by signal.*")
    end = time.monotonic() + WAIT
    while time.monotonic() < end:
        with open(log, encoding="utf-8") as f:
            for text in f:
                if line.match(text.removeprefix("nsfwd: ")):
                    return verdict(text.split())
        time.sleep(0.02)
    return "nothing"


def main():
    program, log, ports, *stages = sys.argv[1:]
    ports = [int(port) for port in ports.split(",")]
    names = subprocess.run([program], env={**os.environ, "EVIL": "list"},
                           stdout=subprocess.PIPE, check=True, text=True)
    names = names.stdout.split()
    only = os.environ.get("ATTACKS", " ".join(names)).split()
    for i, name in enumerate(only):
        ends = [attempt(name, names.index(name), i, stage, ports)
                for stage in stages]
        print(name, *(end or in_log(log, name, stage, ports[STAGES[stage][1]] + i)
                      for stage, end in zip(stages, ends)), flush=True)


main()
