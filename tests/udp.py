#!/usr/bin/env python3
"""Both ends of UDP flows under test, in one process: the clients in the
namespace ns1, the target in ns2 (helpers.bash makes both).

    udp.py SCENE ARG...

ADDR is ADDRESS/PORT. The scenes are the functions below; each says in its first
line what it does. Exit status 1 and a line on stderr where anything is not as
it should be. No datagram is waited for longer than two seconds.
"""

import contextlib
import ctypes
import errno
import os
import random
import re
import select
import signal
import socket
import struct
import subprocess
import sys
import time

LIBC = ctypes.CDLL(None, use_errno=True)
PATIENCE = 2.0
UDP_SEGMENT = 103
ROOM = 4 << 20


class Failure(Exception):
    pass


def check(right, *words):
    if not right:
        raise Failure(" ".join(map(str, words)))


@contextlib.contextmanager
def within(name):
    """What is made here is made in that namespace."""
    home = os.open("/proc/thread-self/ns/net", os.O_RDONLY)
    there = os.open(f"/run/netns/{name}", os.O_RDONLY)
    try:
        check(LIBC.setns(there, 0) == 0, "setns", name)
        yield
    finally:
        LIBC.setns(home, 0)
        os.close(home)
        os.close(there)


def parse(text):
    host, _, port = text.rpartition("/")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    return family, (host, int(port))


def opened(name, text, source=None, listens=False):
    family, address = parse(text)
    with within(name):
        sock = socket.socket(family, socket.SOCK_DGRAM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, ROOM)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, ROOM)
    sock.settimeout(PATIENCE)
    if source:
        sock.bind(parse(source)[1])
    (sock.bind if listens else sock.connect)(address)
    return sock


def client(text, source=None):
    return opened("ns1", text, source)


def target(text):
    return opened("ns2", text, listens=True)


def get(sock, what="a datagram"):
    try:
        return sock.recvfrom(65536)
    except TimeoutError:
        raise Failure(f"{what} did not come") from None


def silent(sock, span=0.2):
    check(not select.select([sock], [], [], span)[0], "something came")


def tell(talker, server, data=None):
    """A datagram to the target; returns where it came from."""
    data = os.urandom(40) if data is None else data
    talker.send(data)
    got, peer = get(server, f"{len(data)} bytes at the target")
    check(got == data, f"{len(got)} bytes at the target, not the {len(data)}")
    return peer


def answer(talker, server, peer, data=None):
    """One back to the client, who is connected, so hears of nobody else."""
    data = os.urandom(50) if data is None else data
    server.sendto(data, peer)
    got = get(talker, f"{len(data)} bytes at the client")[0]
    check(got == data, f"{len(got)} bytes at the client, not the {len(data)}")


def swap(talker, server, data=None):
    peer = tell(talker, server, data)
    answer(talker, server, peer, data)
    return peer


def assure(talker, server):
    """The client speaks again after an answer: its flow makes no room."""
    swap(talker, server)
    return swap(talker, server)


# The scenes.


def ready():
    if "READY_FD" in os.environ:
        os.write(int(os.environ["READY_FD"]), b"ready\n")
        os.close(int(os.environ["READY_FD"]))


def echo(*where):
    """ADDR...: targets that send back what they get, until killed"""
    servers = [target(text) for text in where]
    ready()
    while True:
        for server in select.select(servers, [], [])[0]:
            data, peer = server.recvfrom(65536)
            server.sendto(data, peer)


def swaps(count, listen, where, source=None):
    """COUNT LISTEN TARGET [SOURCE]: there and back, from as many clients"""
    server = target(where)
    talkers = [client(listen, source) for _ in range(int(count))]
    ports = {swap(talker, server) for talker in talkers}
    check(len(ports) == int(count), "flows share a port at the target")


def sizes(listen, where):
    """LISTEN TARGET: datagrams of every size worth a look, there and back"""
    talker, server = client(listen), target(where)
    most = 65507 if talker.family == socket.AF_INET else 65527
    passed = 0
    for size in (0, 1, 511, 512, 1472, 1473, 8972, 9000, 65487, 65506, most):
        swap(talker, server, os.urandom(size))
        passed += 2
    try:
        talker.send(bytes(most + 1))
        raise Failure("the kernel takes a larger one")
    except OSError as err:
        check(err.errno == errno.EMSGSIZE, err)
    silent(server, 0.1)
    swap(talker, server)
    print(passed, "of 22")


def from_where(port, where, *asked):
    """PORT TARGET ADDRESS...: answers come from the address that was asked"""
    server = target(where)
    peers = set()
    for address in asked:
        peers.add(swap(client(f"{address}/{port}"), server))
    # One socket that talks to all of a family, and hears from everybody.
    for bound in "0.0.0.0", "::":
        sock = opened("ns1", f"{bound}/0", listens=True)
        for address in asked:
            if (":" in address) != (":" in bound):
                continue
            sock.sendto(address.encode(), (address, int(port)))
            data, peer = get(server)
            peers.add(peer)
            server.sendto(data, peer)
            source = get(sock)[1][:2]
            check(source == (address, int(port)), source, "for", address)
    check(len(peers) == 2 * len(asked), "they are not flows of their own")


def port_kept(listen, where):
    """LISTEN TARGET: two answers 50 ms apart; the target sees one port"""
    talker, server = client(listen), target(where)
    peer = tell(talker, server)
    answer(talker, server, peer)
    time.sleep(0.05)
    answer(talker, server, peer)
    for _ in range(20):
        check(swap(talker, server) == peer, "the client's port has changed")


def crowd(old, new, served, listen, where):
    """OLD NEW SERVED LISTEN TARGET: a burst of NEW clients beside OLD ones"""
    server = target(where)
    friends = [client(listen) for _ in range(int(old))]
    homes = [assure(friend, server) for friend in friends]
    crowded = [client(listen) for _ in range(int(new))]
    for i, one in enumerate(crowded):
        one.send(b"%d" % i)
    for _ in range(int(served)):
        server.sendto(*get(server))
    silent(server)
    heard = sum(bool(select.select([one], [], [], 0)[0]) for one in crowded)
    check(heard == int(served), heard, "were answered")
    for friend, home in zip(friends, homes):
        check(swap(friend, server) == home, "an old flow has changed")


def room(listen, where):
    """LISTEN TARGET: of three flows, two are assured, and make no room"""
    server = target(where)
    friends = [client(listen), client(listen)]
    homes = [assure(friend, server) for friend in friends]
    silenced, late = client(listen), client(listen)
    tell(silenced, server)
    late.send(b"too early")
    silent(server, 1.1)
    swap(late, server)
    for _ in range(5):
        silenced.send(b"too late")
    silent(server)
    for friend, home in zip(friends, homes):
        check(swap(friend, server) == home, "an assured flow made room")


def raw(family):
    with within("ns1"):
        sock = socket.socket(family, socket.SOCK_RAW, socket.IPPROTO_RAW)
    if family == socket.AF_INET6:
        sock.setsockopt(socket.IPPROTO_IPV6, 36, 1)  # IPV6_HDRINCL
    return sock


def packet(source, listen, data):
    """An IP packet to ADDR from a source that need not be ours."""
    family, (host, port) = parse(source)
    to_host, to_port = parse(listen)[1]
    ends = (socket.inet_pton(family, host), socket.inet_pton(family, to_host))
    udp = struct.pack("!HHHH", port, to_port, 8 + len(data), 0) + data
    if family == socket.AF_INET:
        return struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), 0, 0, 9,
                           socket.IPPROTO_UDP, 0, *ends) + udp
    pseudo = b"".join(ends) + struct.pack("!II", len(udp), 17) + udp
    pseudo += bytes(len(pseudo) % 2)
    total = sum(struct.unpack(f"!{len(pseudo) // 2}H", pseudo))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    udp = udp[:6] + struct.pack("!H", 0xffff - total) + udp[8:]
    return struct.pack("!IHBB16s16s", 6 << 28, len(udp), 17, 9, *ends) + udp


def forged(listen, listen6, where, *sources):
    """LISTEN LISTEN6 TARGET SOURCE...: nothing of them reaches the target"""
    server = target(where)
    for source in sources:
        family = parse(source)[0]
        to = listen if family == socket.AF_INET else listen6
        raw(family).sendto(packet(source, to, b"forged"), (parse(to)[1][0], 0))
    silent(server)
    for to in listen, listen6:
        swap(client(to), server)


def flood(count, listen, where):
    """COUNT LISTEN TARGET: as many made-up clients, and one that is served"""
    friend, server, sock = client(listen), target(where), raw(socket.AF_INET)
    home = assure(friend, server)
    for i in range(int(count)):
        source = f"127.{1 + i // 65536}.{i // 256 % 256}.{i % 256}/{1024 + i}"
        sock.sendto(packet(source, listen, b"flood"), ("127.0.0.1", 0))
        if i % 500 == 499:
            while select.select([server], [], [], 0)[0]:
                server.recv(100)
            friend.send(b"friend")
            while (got := get(server)) != (b"friend", home):
                check(got[0] == b"flood", got)
            answer(friend, server, home)


def comes_back(listen, where):
    """LISTEN TARGET: 10 before the target is there, and 10 after"""
    talker = client(listen)
    for _ in range(10):
        talker.send(b"early")
        time.sleep(0.02)
    server = target(where)
    for _ in range(10):
        swap(talker, server)


def burst(count, listen):
    """COUNT LISTEN: as many datagrams, from ten clients, unanswered"""
    talkers = [client(listen) for _ in range(10)]
    for i in range(int(count)):
        talkers[i % 10].send(b"burst")


def expiry(listen, where, log):
    """LISTEN TARGET LOG: flows end two to three seconds after their last"""
    server = target(where)
    born, last = {}, {}
    talkers = {name: client(listen) for name in ("up", "down", "both")}
    plan = [(0.0, "up", "up"), (0.0, "down", "up"), (0.0, "both", "up"),
            (0.5, "up", "up"), (0.5, "down", "down"), (0.5, "both", "down"),
            (1.0, "up", "up"), (1.0, "down", "down"), (1.0, "both", "up"),
            (1.5, "down", "down"), (1.5, "both", "down")]
    peers, begin = {}, time.monotonic()
    for at, name, way in plan:
        time.sleep(max(0, begin + at - time.monotonic()))
        born.setdefault(name, time.monotonic())
        if way == "up":
            peers[name] = tell(talkers[name], server)
        else:
            answer(talkers[name], server, peers[name])
        last[name] = time.monotonic()
    counts = {"up": "3 0", "down": "1 3", "both": "2 2"}
    time.sleep(max(0, begin + 4.6 - time.monotonic()))
    with open(log, encoding="utf-8") as file:
        lines = file.read()
    for name in talkers:
        up, down = counts[name].split()
        found = re.findall(f"up-datagrams={up} down-datagrams={down} "
                           "ms=([0-9]+) end=idle", lines)
        check(len(found) == 1, name, "ended", len(found), "times")
        after = int(found[0]) / 1000 - (last[name] - born[name])
        print(f"{name}: ended {after:.3f} s after its last")
        check(1.98 <= after <= 3, name, "did not end in time")


def segments(listen, where):
    """LISTEN TARGET: senders that let the kernel cut, both ways"""
    talker, server = client(listen), target(where)
    peer = swap(talker, server)
    server.connect(peer)
    for sender, receiver in (talker, server), (server, talker):
        for size, total in (1, 64), (33, 2000), (1000, 63999), (1400, 64000), (
                9000, 64000), (1472, 1473), (700, 1400):
            sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, size)
            sent = [os.urandom(total), os.urandom(total)]
            for block in sent:
                sender.send(block)
            for block in sent:
                for at in range(0, total, size):
                    right = block[at:at + size]
                    got = get(receiver)[0]
                    check(got == right, "of", size, "came", len(got))
        sender.setsockopt(socket.IPPROTO_UDP, UDP_SEGMENT, 0)
    silent(server, 0.1)
    silent(talker, 0)


def status(pid, field):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return re.search(f"^{field}:\\s+(\\w+)", file.read(), re.M)[1]


def stop(pid):
    os.kill(int(pid), signal.SIGSTOP)
    end = time.monotonic() + PATIENCE
    while status(pid, "State") not in "Tt":
        check(time.monotonic() < end, pid, "does not stop")


@contextlib.contextmanager
def stopped(mapper):
    """The mapper is stopped, and the server before it, which would continue a
    mapper that stops."""
    pids = [status(mapper, "PPid"), mapper]
    for pid in pids:
        stop(pid)
    try:
        yield
        check(status(mapper, "State") in "Tt", "somebody continued the mapper")
    finally:
        for pid in reversed(pids):
            os.kill(int(pid), signal.SIGCONT)


def mixed(count, listen, where, mapper):
    """COUNT LISTEN TARGET PID: runs of one size, broken by others, both ways;
    the mapper finds each lot at once"""
    talker, server = client(listen), target(where)
    server.connect(swap(talker, server))
    chance = random.Random(1)
    for sender, receiver in (talker, server), (server, talker):
        left = int(count)
        while left > 0:
            size = chance.choice((0, 1, 20, 20, 20, 700, 1400, 9000))
            most = min(70, 90000 // (size + 1))
            lot = [os.urandom(size) for _ in range(chance.randint(1, most))]
            lot.append(os.urandom(chance.randint(0, size + 1)))
            with stopped(mapper):
                for data in lot:
                    sender.send(data)
            for data in lot:
                check(get(receiver)[0] == data, "not what was sent")
            left -= len(lot)


def tunnel(listen, where, silence):
    """LISTEN TARGET SILENCE: both sides speak first at times, after silences"""
    talker, server = client(listen), target(where)
    peer = swap(talker, server)
    for first in "target", "client", "target", "client":
        time.sleep(float(silence))
        if first == "target":
            answer(talker, server, peer)
        check(tell(talker, server) == peer, "the client's port has changed")
        if first == "client":
            answer(talker, server, peer)


def refusing(listen, where, first):
    """LISTEN TARGET FIRST: the first target refuses the very first datagram,
    the second answers; a flow that it has answered does not move any more"""
    talker, server = client(listen), target(where)
    peer = swap(talker, server)
    with contextlib.closing(target(first)) as other:
        check(swap(talker, server) == peer, "the flow has moved")
        server.close()
        for _ in range(3):
            talker.send(b"refused")
            silent(other, 0.05)
        server = target(where)
        check(swap(talker, server) == peer, "the flow has moved")
        # A new one begins with the target that did not refuse last.
        swap(client(listen), other)
    for _ in range(3):
        swap(client(listen), server)


def blocked(way, listen, where, on="", off=""):
    """up|down LISTEN TARGET [ON OFF]: three get lost that way, between two
    shell commands, and the next passes"""
    talker, server = client(listen), target(where)
    peer = swap(talker, server)
    subprocess.run(on, shell=True, check=True)
    for _ in range(3):
        if way == "up":
            talker.send(b"lost")
        else:
            server.sendto(b"lost", peer)
        time.sleep(0.05)
    silent(server, 0)
    silent(talker, 0)
    subprocess.run(off, shell=True, check=True)
    check(swap(talker, server) == peer, "the flow has changed")


def everybody(listen, where, *hosts):
    """LISTEN GROUP HOST...: what goes to the group reaches each of the hosts,
    in ns3, and their answers come back, from wherever they are sent"""
    family, (group, port) = parse(where)
    talker = client(listen)
    with within("ns3"):
        server = socket.socket(family, socket.SOCK_DGRAM)
    server.settimeout(PATIENCE)
    server.bind(("", port))
    if socket.inet_aton(group)[0] in range(224, 240):
        server.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP,
                          socket.inet_aton(group) + socket.inet_aton(hosts[0]))
    peers = set()
    for _ in range(3):
        talker.send(b"who is there?")
        data, peer = get(server)
        check(data == b"who is there?", data)
        peers.add(peer)
        for host in hosts:
            with within("ns3"):
                own = socket.socket(family, socket.SOCK_DGRAM)
            with own:
                own.bind((host, 0))
                own.sendto(host.encode(), peer)
                check(get(talker)[0] == host.encode(), "another answer")
    check(len(peers) == 1, "the flow has another port")


def at_once(mapper, talker, sock, count, size, peer):
    """As many datagrams that the mapper finds at the same time."""
    lot = [os.urandom(size) for _ in range(count)]
    with stopped(mapper):
        for data in lot:
            sock.sendto(data, peer)
    for data in lot:
        check(get(talker)[0] == data, "not what was sent")


def narrow(listen, where, narrow_source, mapper):
    """LISTEN TARGET SOURCE PID: lots of 20 to a client whose path takes 600
    bytes, and to another one, and back; each ends with one of 1 byte"""
    server = target(where)
    talkers = [client(listen, narrow_source), client(listen)]
    homes = [swap(talker, server) for talker in talkers]
    for talker, home in zip(talkers, homes):
        for _ in range(3):
            at_once(mapper, talker, server, 20, 1000, home)
        answer(talker, server, home, b"!")


def refused_source(count, more, listen, where):
    """COUNT MORE LISTEN TARGET: from one address COUNT flows, and MORE
    datagrams that would begin another one"""
    server, sock, friend = target(where), raw(socket.AF_INET), client(listen)
    home = swap(friend, server)
    for i in range(int(count) + int(more)):
        port = 1024 + i if i < int(count) else 60000 + i % 4000
        sock.sendto(packet(f"127.5.5.5/{port}", listen, b"x"), ("127.0.0.1", 0))
        if i % 200 == 199:
            while select.select([server], [], [], 0)[0]:
                server.recv(100)
            friend.send(b"friend")
            while get(server) != (b"friend", home):
                pass
            answer(friend, server, home)


def newcomer(kind, count, listen, where, sources, pause="0"):
    """one-way|answered|assured COUNT LISTEN TARGET one|many [PAUSE]: beside as
    many clients of that kind, all of one address or of many, a new one is
    served"""
    server, talkers = target(where), []
    for i in range(int(count)):
        own = f"127.1.{i // 250}.{1 + i % 250}/0" if sources == "many" else None
        talkers.append(client(listen, own))
        talkers[-1].send(b"one")
        for _ in range({"one-way": 0, "answered": 1, "assured": 3}[kind]):
            if select.select([server], [], [], 0.05)[0]:
                server.sendto(*get(server))
            if select.select([talkers[-1]], [], [], 0)[0]:
                talkers[-1].send(get(talkers[-1])[0])
    time.sleep(float(pause))
    while select.select([server], [], [], 0.05)[0]:
        server.recv(100)
    begin = time.monotonic()
    swap(client(listen, "127.0.0.9/0"), server)
    print(f"served after {time.monotonic() - begin:.3f} s")


def shares(flows, listen, where):
    """FLOWS LISTEN TARGET: one address takes all flows, another one gets half
    of them and no more"""
    server, half = target(where), int(flows) // 2
    first = [client(listen, "127.0.0.8/0") for _ in range(2 * half)]
    homes = [assure(talker, server) for talker in first]
    # A source does not crowd out itself.
    client(listen, "127.0.0.8/0").send(b"one too many")
    silent(server)
    for talker, home in zip(first, homes):
        check(swap(talker, server) == home, "a flow has changed")
    second = [client(listen, "127.0.0.9/0") for _ in range(half)]
    for talker in second:
        assure(talker, server)
    client(listen, "127.0.0.9/0").send(b"one too many")
    client(listen, "127.0.0.10/0").send(b"one too many")
    silent(server)
    kept = 0
    for talker, home in zip(first, homes):
        talker.send(b"mine")
        kept += bool(select.select([server], [], [], 0.05)[0]) and (
            get(server)[1] == home)
    check(kept == half, kept, "of", half, "were kept")


def ended(listen, where, command):
    """LISTEN TARGET COMMAND: somebody ends the flow's socket; no datagram of
    the client is lost, and answers come again"""
    talker, server = client(listen), target(where)
    home = swap(talker, server)
    for _ in range(2):
        subprocess.run(command, shell=True, check=True,
                       stdout=subprocess.DEVNULL)
        fresh = swap(talker, server)
        check(fresh != home, "the socket is the old one")
        home = fresh


def until_moved(talker, other, limit, gap=0.02):
    """Sends until a datagram arrives there; how long that took, and the peer."""
    begin = time.monotonic()
    while not select.select([other], [], [], gap)[0]:
        check(time.monotonic() - begin < limit, "not moved in", limit, "s")
        talker.send(b"anybody?")
    return time.monotonic() - begin, get(other)[1]


def moves(kind, limit, listen, old, fresh, change=""):
    """refused|silent LIMIT LISTEN OLD NEW [COMMAND]: the target does not answer
    any more, after the COMMAND; the flow goes to the other one within LIMIT s,
    and so do new ones"""
    talker, server, other = client(listen), target(old), target(fresh)
    swap(talker, server)
    swap(talker, server)
    # While it answers, the flow stays.
    subprocess.run(change, shell=True, check=True)
    swap(talker, server)
    if kind == "refused":
        server.close()
    span, peer = until_moved(talker, other, float(limit))
    print(f"{kind}: moved after {span:.1f} s")
    other.sendto(b"I am", peer)
    check(get(talker)[0] == b"I am", "another answer")
    while select.select([other], [], [], 0)[0]:
        other.recv(100)
    swap(client(listen), other)


def one_way(span, listen, *wheres):
    """SPAN LISTEN TARGET TARGET: none of them ever answers; the first gets the
    most"""
    talker, servers = client(listen), [target(where) for where in wheres]
    end = time.monotonic() + float(span)
    while time.monotonic() < end:
        talker.send(b"log")
        time.sleep(0.005)
    counts = []
    for server in servers:
        counts.append(0)
        while select.select([server], [], [], 0)[0]:
            server.recv(100)
            counts[-1] += 1
    print(*counts)
    check(0 < counts[1] < counts[0] * 0.7, *counts)


def main():
    scene, *args = sys.argv[1:]
    try:
        globals()[scene](*args)
    except (Failure, OSError) as err:
        print(f"udp.py {' '.join(sys.argv[1:])}: {err}", file=sys.stderr)
        sys.exit(1)


main()
