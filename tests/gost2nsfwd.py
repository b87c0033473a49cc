"""Runs contrib/gost2nsfwd over the cases of gost2nsfwd.cases, in one process.

gost2nsfwd.py SCRIPT CASES DIR    writes each file into DIR, what comes out of it to
                                  FILE.out and how to use that to FILE.traffic
gost2nsfwd.py echoes ADDR PORT... sends a datagram to each, expects the same back
"""

import contextlib
import importlib.machinery
import importlib.util
import io
import os
import re
import socket
import sys

sys.dont_write_bytecode = True
SLOW = int(os.environ.get("TEST_SLOW", "1"))


def load(path):
    loader = importlib.machinery.SourceFileLoader("gost2nsfwd", path)
    module = importlib.util.module_from_spec(
        importlib.util.spec_from_loader("gost2nsfwd", loader))
    loader.exec_module(module)
    return module


def run(module, *args):
    """Returns exit status, output and messages."""
    out, err = io.StringIO(), io.StringIO()
    module.MESSAGES.clear()
    with contextlib.redirect_stdout(out), contextlib.redirect_stderr(err):
        try:
            status = module.main(list(args))
        except SystemExit as e:
            status = e.code
    return status, out.getvalue(), err.getvalue()


def cases(path):
    """Yields the name and the parts of each case."""
    with open(path, encoding="utf-8") as f:
        text = f.read()
    for block in re.split(r"^== ", text, flags=re.M)[1:]:
        parts = re.split(r"^-- (\w+)\n", block, flags=re.M)
        name, _, body = parts[0].partition("\n")
        yield name, body, dict(zip(parts[1::2], parts[2::2]))


def check(module, path, parts):
    """Returns what is wrong with the outcome for a file."""
    args = parts.get("args", "").split() + [path]
    status, out, err = run(module, *args)
    says = parts.get("says", "").splitlines()
    lines = err.splitlines()
    if lines and "nothing is written" in lines[-1]:
        lines.pop()
    wrong = []
    if status != (2 if says and "--partly" not in args else 0):
        wrong.append(f"status {status}")
    if len(lines) != len(says) or not all(
            line.startswith("gost2nsfwd: ") and part in line.replace(path + ":", "")
            for part, line in zip(says, lines)):
        wrong += ["messages:"] + lines
    if "".join(line + "\n" for line in out.splitlines()
               if line[0] != "#") != parts.get("out", ""):
        wrong += ["output:", out]
    if "hush" in err or "hidden" in err or "0777" in err:
        wrong.append("a password is shown")
    return wrong, out


def check_all(script, path, where):
    module, bad, n = load(script), 0, 0
    for name, body, parts in cases(path):
        file = os.path.join(where, name)
        with open(file, "w", encoding="utf-8") as f:
            f.write(body)
        wrong, out = check(module, file, parts)
        if wrong:
            print(f"{name}: " + "\n    ".join(wrong))
        for kind, text in (("out", out), ("traffic", parts.get("traffic", ""))):
            with open(f"{file}.{kind}", "w", encoding="utf-8") as f:
                f.write(text)
        bad += bool(wrong)
        n += 1
    print(f"{n} cases, {bad} wrong")
    bad += check_command_line(module, where)
    return 0 if not bad and n >= 25 else 1


def check_command_line(module, where):
    """Returns the number of wrong outcomes of arguments; several files are one."""
    chain, tabs, gone = (os.path.join(where, n) for n in ("chain.yml", "tabs.json", "no"))
    bad = 0
    for args, status, out, err in (
            ((chain, tabs), 0, "# service-0\n", ""), ((tabs, chain), 0, "# json \U0001f600\n", ""),
            ((chain, chain), 2, "", "chain-0' stands twice"), ((), 2, "", "usage: "),
            (("--no",), 2, "", "usage: "), (("--help",), 0, "usage: ", ""),
            ((gone,), 1, "", f"{gone}: No such file"), ((where,), 1, "", "directory")):
        found = run(module, *args)
        if found[0] != status or not found[1].startswith(out) or err not in found[2] or \
                bool(out) != bool(found[1]) or bool(err) != bool(found[2]):
            print(args, found)
            bad += 1
    return bad


def echoes(*pairs):
    for where in pairs:
        host, port = where.rsplit("/", 1)
        with socket.socket(type=socket.SOCK_DGRAM) as s:
            s.settimeout(5 * SLOW)
            s.connect((host, int(port)))
            s.send(where.encode())
            assert s.recv(100) == where.encode()


if __name__ == "__main__":
    if sys.argv[1] == "echoes":
        sys.exit(echoes(*sys.argv[2:]))
    sys.exit(check_all(*sys.argv[1:]))
