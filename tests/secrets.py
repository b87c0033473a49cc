"""Passwords where users put them, rightly and wrongly: none may be shown.

words           prints a command a line, its words parted by tabs
check PROGRAM   runs each with --check, as words, and what is a map also as a
                line of a file; prints what shows the password, and how many
"""

import concurrent.futures
import os
import re
import subprocess
import sys
import tempfile

MARK = "k9XqZ"

# As a password, and what a user may have in one: all that parts something.
PASSWORDS = ["{}", "a:{}", "{}:a", "a@{}", "{}@a", "a,{}", "{},a", "a={}",
             "a/{}", "/{}", "{}/a", "a?{}", "a&{}", "%40{}", "a%3a{}", "a {}",
             "a,b={}", "*{}", "a#{}", "a'{}", 'a"{}', "a\\{}", "a%{}", "a=={}"]

# One line: a command. Two words that a tab parts are two words.
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
""".split("\n")[1:-1]


def commands():
    for line in RIGHT + WRONG:
        for password in PASSWORDS:
            # Without a user, what stands in front of ':' is one.
            if password == "{}:a" and ":P" not in line:
                continue
            # What begins with '/' there is the path of a file.
            if password[0] == "/" and re.search(",(via-)?auth=P", line):
                continue
            yield line.replace("P", password.format(MARK)).split("\t")


def run(words):
    done = subprocess.run(words, stdin=subprocess.DEVNULL, timeout=20,
                          capture_output=True)
    return done.stdout + done.stderr


def shows(program, words, number, directory):
    said = run([program, "--check"] + words)
    if not words[0].startswith("-"):
        path = os.path.join(directory, f"maps.{number}")
        with open(path, "w") as file:
            file.write("# maps\n" + " ".join(words) + "\n")
        said += run([program, "--check", "-c", path])
        os.unlink(path)
    return said if MARK.encode() in said or b"Sanitizer" in said else None


def check(program):
    given = list(commands())
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
    return bool(leaks) or len(given) < 2000


if __name__ == "__main__":
    if sys.argv[1] == "words":
        for c in commands():
            print("\t".join(c))
    else:
        sys.exit(check(sys.argv[2]))
