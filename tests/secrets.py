"""Passwords where users put them, rightly and wrongly: none may be shown.

words           prints one command on a line, with tabs between its words
check PROGRAM [STEP]  runs each STEPth command with --check, and each of these
                that is a map also as a line of a file; prints the output that
                shows a password, and counts
hop PORT        a proxy that refuses, and shows the password in its reply
memory SERVER PATH...  prints for each process of a server, of the readers of
                these sockets, too, which passwords its memory has: the byte
                behind MARK of each
ask PORT        asks a proxy on 127.0.0.1 in every wrong way with a password,
                and waits for the end of each connection
"""

import base64
import concurrent.futures
import os
import re
import socket
import subprocess
import sys
import tempfile

MARK = "k9XqZ"
SLOW = int(os.environ.get("TEST_SLOW", "1"))

# Passwords: MARK, with each byte that separates parts of a command.
PASSWORDS = ["{}", "a:{}", "{}:a", "a@{}", "{}@a", "a,{}", "{},a", "a={}",
             "a/{}", "/{}", "{}/a", "a?{}", "a&{}", "%40{}", "a%3a{}", "a {}",
             "a,b={}", "*{}", "a#{}", "a'{}", 'a"{}', "a\\{}", "a%{}", "a=={}"]

# A line is a command. Tabs are between its words.
RIGHT = """
80=proxy,auth=u:P
80=proxy,auth=u:P,max=3
80=w:81,via=http:h:1,via-auth=u:P
80=w:81,via=http:h:1,via-auth=u:P,via=socks5:i:2,via-auth=v:P,max=3
-L	http://u:P@:80
-L	socks5://u:P@127.0.0.1:1080?netns=a
-L	tcp://:80/h:81	-F	http://u:P@h:1
-F	socks5://u:P@h:1?netns=b	-L	tcp://:80/h:81
-L=http://u:P@:80
-Lhttp://u:P@:80
""".split("\n")[1:-1]

WRONG = """
80=proxy,auth=P
80=proxy,auth=:P
80=proxy,auth==u:P
80=proxy,auth= u:P
80=proxy,auth =u:P
80=proxy,auth = u:P
80=proxy, auth=u:P
80=proxy auth=u:P
80=proxy	auth=u:P
80=proxy	auth	u:P
80=proxy,auth	=u:P
80=proxy,auth=	u:P
80=proxy,auth:u:P
80=proxy,"auth=u:P"
80=proxy,'auth=u:P'
80=w:81,via=http:h:1,"via-auth=u:P"
80=proxy,"auth"=u:P
80=w@81/auth=u:P
80=w@proxy:auth=u:P
80=w@proxy@auth=u:P
80=w@proxy+auth=u:P
80=w@proxy#auth = u:P
80=w@proxy|auth=u:P
80=w@proxy;auth=u:P
80=w@proxy&auth=u:P
80=w@proxy/passwd=P
80=w@proxy%2ctoken%3dP
80=proxy,auth%3Du:P
8080	/run/x/auth=u:P
80=81,via=http:h:1/via-auth=u:P
80=81,via=http:10.0.0.2:80@u:P
80=81,via=http://10.0.0.2:80/u:P
80=h:81|u:P
-L	socks5://:1080/auth=u:P
-L	tcp://:80/h:81	-F	http://10.0.0.2:80@u:P
80=proxy,Auth=u:P
80=proxy,AUTH=u:P
80=proxy,auht=u:P
80=proxy,aut=u:P
80=proxy,atuh=u:P
80=proxy,via_auth=u:P
80=proxy,proxy-auth=u:P
80=proxy,basic-auth=P
80=proxy,pass=P
80=proxy,user=u,password=P
80=proxy,user=u:P
80=proxy,login=u:P
80=proxy,pwd=P
80=proxy,token=P
80=proxy,secret=P
80=proxy,apikey=P
80=proxy,credentials=u:P
80=proxy,foo=P
80=proxy,x=u:P
80=proxy,auth=u:P,bogus=1
80=proxy,bogus=1,auth=u:P
80=proxy,auth=u:P,auth=u:P
80=proxy,max=x,auth=u:P
80=81,auth=u:P
80=81,via-auth=u:P
80=81,via=http:1,via-auth=P
80=81,via=http:1,via-auth=u:P,via-auth=v:P
80=81,via=http:u:P@h:1
80=81,via=socks5:u:P@h:1
80=81,via=u:P@h:1
80=81,via=http://u:P@h:1
80=81,via=http://P@h:1
80=81,via=socks4://u:P@h:1
80=81,via=https:u:P@h:1,max=3
80=81,via=http:h:1:u:P@
80=proxy,max=auth=u:P
80=max=auth=u:P
auth=u:P
password=P
auth=u:P,80=proxy
tcp:auth=u:P
80=u:P@h:1
80=vpn@u:P@h:1
80=h:1,u:P@h:2
80=u:P@
u:P@80=81
u:P@10.0.0.1:80=81
vpn@u:P@80=81
udp:u:P@53=54
tcp+udp:u:P@53=54
80=u:P@proxy
80=http://u:P@h:1
http://u:P@h:1=80
udp://u:P@53=54
tcp://u:P@h:1
http://localhost:80=http://u:P@h:1
netns:u:P@80
8080	u:P@h:1	max=3
80	=	proxy	auth=u:P	max=3
80=vpn@http://u:P@h:1
80=http:/u:P@h:1
80=//P@h:1
//u:P@h:1=80
80=https://P@h:1
80=u:P@/run/x
-L	https://u:P@:80
-L	http://u:P@:80/h:81
-L	http://P@:80
-L	http://u%3AP@:80
-L	http://u:P%40h:80
-L	http://u:P@h
-L	http://u:P@h:x
-L	rtcp://u:P@:80/h:81
-L	u:P@:80
-L	u:P@:80/h:81
-L	tcp://:80/u:P@h:81
-L	tcp://:80/h:81?auth=P
-L	tcp://:80/h:81?auth=u:P
-L	tcp://:80/h:81?password=P
-L	tcp://:80/h:81?foo=P
-L	tcp://:80/h:81?netns=u:P@h
-L	tcp://:80/h:81	-F	https://u:P@h:1
-L	tcp://:80/h:81	-F	http://u:P@h
-L	tcp://:80/h:81	-F	http://u:P@h:1/x
-L	tcp://:80/h:81	-F	http://u:P@h:1?x=1
-L	tcp://:80/h:81	-F	u:P@h:1?netns=..
-L	tcp://:80/h:81	-F	relay+tls://u:P@h:1
-L	tcp://:80/h:81	-F	http://u%3aP@h:1
-F	http://u:P@h:1
-F	https://u:P@h:1
--from	u:P@h	80=81
--to	http://u:P@h	80=81
--from=u:P@	80=81
--user	u:P	80=81
--user=u:P	80=81
--auth	u:P	80=proxy
--auth=u:P	80=proxy
--password	P	80=proxy
--password=P	80=proxy
--proxy-user	u:P	80=proxy
-u	u:P	80=proxy
-uu:P	80=proxy
--drain	u:P@h	80=81
--ready-fd	u:P@h	80=81
--check=u:P@h	80=81
-c	http://u:P@h/x
-c	u:P@h
--stats	u:P@h	80=81
http://u:P@h:1
80	u:P@h:1
80	http://u:P@h:1	81
u:P@h	80
80	proxy,auth=u:P
80	=	proxy,auth=u:P
proxy	auth=u:P
auth=u:P
80=81	auth=u:P
user	u:P
user	u:P	x
drain=u:P@h
stats	u:P@h
to	http://u:P@h
""".split("\n")[1:-1]


def commands():
    for line in RIGHT + WRONG:
        for password in PASSWORDS:
            # Without a user, the text in front of ':' is the user.
            if password == "{}:a" and ":P" not in line:
                continue
            # A value that begins with '/' is the path of a file.
            if password[0] == "/" and re.search(",(via-)?auth=P", line):
                continue
            yield line.replace("P", password.format(MARK)).split("\t")


def run(words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, timeout=20 * SLOW,
                          capture_output=True)
    return done.stdout + done.stderr


def shows(program, words, number, directory):
    said = run([program, "--check=syntax"] + words)
    if not words[0].startswith("-"):
        path = os.path.join(directory, f"maps.{number}")
        with open(path, "w") as file:
            file.write("# maps\n" + " ".join(words) + "\n")
            file.write(" ".join(f'"{word}"' for word in words) + "\n")
        said += run([program, "--check=syntax", "-c", path])
        os.unlink(path)
    return said if MARK.encode() in said or b"Sanitizer" in said else None


def check(program, step=1):
    given = list(commands())[::int(step)]
    leaks = []
    with tempfile.TemporaryDirectory() as directory, \
            concurrent.futures.ThreadPoolExecutor(4) as pool:
        asked = [pool.submit(shows, program, words, i, directory)
                 for i, words in enumerate(given)]
        for words, future in zip(given, asked):
            said = future.result()
            if said:
                leaks.append(words)
                print(" ".join(words), said.decode(errors="replace"), sep="\n")
    print(f"{len(leaks)} of {len(given)} commands show a password")
    return bool(leaks) or len(given) < 100


def hop(port):
    server = socket.create_server(("127.0.0.1", int(port)))
    with open(int(os.environ["READY_FD"]), "w") as ready:
        ready.write("ready\n")
    while True:
        client, _ = server.accept()
        with client:
            said = client.recv(4096)
            auth = said.partition(b"Basic ")[2].partition(b"\r")[0]
            word = base64.b64decode(auth)
            client.sendall(b"HTTP/1.1 407 " + word + b"\r\nX: " + word +
                           b"\r\n\r\n" + word)


def marks(pid):
    """The title of a process and its passwords; None if it has exited."""
    found = set()
    try:
        with open(f"/proc/{pid}/cmdline") as title, \
                open(f"/proc/{pid}/maps") as maps, \
                open(f"/proc/{pid}/mem", "rb", 0) as mem:
            for line in maps:
                first, last = (int(x, 16) for x in line.split()[0].split("-"))
                # What is larger is shared, or the shadow of a sanitizer.
                if " r" not in line[:40] or "[v" in line or \
                        last - first > 1 << 24:
                    continue
                mem.seek(first)
                found.update(re.findall(MARK.encode() + b"([a-z])",
                                        mem.read(last - first)))
            title = title.read().replace("\0", " ").strip()
    except (OSError, ValueError):
        return None
    if title.startswith("nsfwd: "):
        title = re.sub(":[0-9]+ > ", " > ", title[7:].partition("=")[0])
    elif found:
        title = "server"
    else:  # it has just exited, or has no title yet
        return None
    return title, b"".join(sorted(found)).decode() or "-"


def processes(server):
    known, fresh = set(), {server}
    while fresh:
        known |= fresh
        fresh = set()
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                with open(f"/proc/{pid}/stat") as stat:
                    parent = stat.read().rpartition(")")[2].split()[1]
            except OSError:
                continue
            if parent in known and pid not in known:
                fresh.add(pid)
    return sorted(known, key=int, reverse=True)  # readers first


def memory(server, *paths):
    readers = {"status", "metrics"} if paths else set()
    seen = set()
    while not seen or not readers <= {title for title, _ in seen}:
        held = [socket.socket(socket.AF_UNIX) for _ in paths]
        for sock, path in zip(held, paths):
            sock.connect(path)
        seen |= set(filter(None, map(marks, processes(server))))
    print(*sorted(" ".join(words) for words in seen), sep="\n")


def requests():
    login = "u:" + MARK
    basic = base64.b64encode(login.encode()).decode()
    for url in (f"http://{login}@h/", f"http://{MARK}@h/",
                f"http://u:a@{MARK}@h:80/x", f"http://u:a/{MARK}@h/",
                f"http://u:{MARK}/", f"http://{login}@/", f"{login}@h:80",
                "http://u:" + 70 * MARK + "@h/", f"http://u:{MARK}%40h/"):
        yield f"GET {url} HTTP/1.1\r\nHost: {login}@h\r\n\r\n".encode()
    for to in (f"{login}@h:80", f"{login}@127.0.0.1:1", f"u:{MARK}", login +
               "%40h:80", "u:" + 70 * MARK + "@h:80", f"u:a@{MARK}@h:80"):
        yield f"CONNECT {to} HTTP/1.1\r\n\r\n".encode()
    for said in (f"Basic {basic}", f"Basic {login}", f"Basic {MARK}==",
                 f"Bearer {MARK}", f"Basic {basic}\r\nX-{MARK}: {MARK}"):
        yield (f"CONNECT 127.0.0.1:1 HTTP/1.1\r\n"
               f"Proxy-Authorization: {said}\r\n\r\n").encode()
    word = login.encode()
    host = word + b"@h"
    method, there = b"\5\2\0\2", b"\0\x50"
    said = b"\1\1u" + bytes([len(MARK)]) + MARK.encode()
    for name in (host, word):
        yield method + b"\5\1\0\3" + bytes([len(name)]) + name + there
        yield (method + said + b"\5\1\0\3" + bytes([len(name)]) + name +
               there)
        yield b"\4\1" + there + b"\0\0\0\1" + word + b"\0" + name + b"\0"


def ask(port):
    for request in requests():
        with socket.create_connection(("127.0.0.1", int(port)), 10 * SLOW) as s:
            s.settimeout(10 * SLOW)
            # Ends the stream after the first bytes of the reply.
            try:
                s.sendall(request)
                while s.recv(4096):
                    s.shutdown(socket.SHUT_WR)
            except OSError as error:
                if isinstance(error, TimeoutError):
                    raise


if __name__ == "__main__":
    if sys.argv[1] == "words":
        for c in commands():
            print("\t".join(c))
    else:
        sys.exit(globals()[sys.argv[1]](*sys.argv[2:]))
