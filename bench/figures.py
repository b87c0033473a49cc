#!/usr/bin/env python3
"""Keeps what bench/run measured in bench/results.json, and draws bench/*.svg.

results.json is a list of runs on two machines, the newest first. A run has its
machine, date and rows; rows[ROW][FORWARDER][FIGURE] is [median, least, most].
gnuplot draws the newest; the same results give the same bytes. The colours are
readable on white and on black. Without bench/run: bench/figures.py draws again.
"""

import json
import os
import re
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
RESULTS = HERE + "/results.json"
INK, OURS, OTHERS = 0x6e7781, 0x2f81f7, 0x9aa4af
DIRECT = ("direct", "veth + nft DNAT")  # carry nothing themselves

# File, title, and panels: row, figure, what the axis shows.
FIGURES = (
    ("throughput", "Throughput, Gbit/s", (
        ("bulk1up", "Gbit/s", "1 stream up"),
        ("bulk1down", "Gbit/s", "1 stream down"),
        ("bulk8up", "Gbit/s", "8 streams up"),
        ("bulk8down", "Gbit/s", "8 streams down"))),
    ("connections", "Connections per second: connect, echo of 64 bytes, close", (
        ("crr1", "conn/s", "1 client"),
        ("crr32", "conn/s", "32 clients"))),
    ("cpu", "Processor time of the forwarder", (
        ("crr32", "CPU us/conn", "microseconds a connection, 32 clients"),
        ("bulk1up", "CPU s/GB", "seconds a gigabyte, 1 stream up"))),
    ("memory", "Memory, user and kernel", (
        ("idle", "KiB/conn", "KiB for each idle connection"),
        ("idle", "base KiB", "KiB without a connection"))),
)
# The columns of the table that compares machines.
BESIDE = (("bulk1up", "Gbit/s", "Gbit/s, 1 up"),
          ("bulk8up", "Gbit/s", "8 up"),
          ("crr32", "conn/s", "conn/s, 32 clients"),
          ("crr32", "CPU us/conn", "CPU us/conn"),
          ("idle", "KiB/conn", "KiB/conn"))


def number(value):
    digits = 0 if abs(value) >= 1000 else 1 if abs(value) >= 30 else 2
    return f"{value:,.{digits}f}" if value else "0"


def bars(run, row, figure):
    """Returns (forwarder, [median, least, most]), where it was measured."""
    carries = figure in ("Gbit/s", "conn/s")
    return [(name, got[figure])
            for name, got in run["rows"].get(row, {}).items()
            if got.get(figure) and (carries or name not in DIRECT)]


def limit(medians):
    """Returns the end of the axis: a bar far beyond the others is cut there."""
    most = max(medians)
    usual = sorted(medians)[len(medians) * 3 // 4]
    return usual * 1.6 if most > usual * 4 else most * 1.15


def panel(got, label, name):
    """Returns gnuplot's commands for horizontal bars, with whiskers."""
    end = limit([m for _, (m, _, _) in got])
    lines, ticks = [], []
    for i, (forwarder, (median, least, most)) in enumerate(got):
        cut = median > end
        far = end if cut else min(max(most, 0), end)
        least = end if cut else max(least, 0)
        text = number(median) + (" →" if cut else "")
        colour = OURS if forwarder.startswith("nsfwd") else OTHERS
        lines.append(f'{i} {min(max(median, 0), end):.5g} {least:.5g} {far:.5g} '
                     f'{colour} "{text}"')
        ticks.append(f'"{forwarder.replace(" (one namespace)", "*")}" {i}')
    return "\n".join((
        f"${name} << E", *lines, "E",
        f"set xrange [0:{end * 1.22:.5g}]",
        f"set yrange [{len(got) - 0.4}:-0.6]",
        f"set ytics ({', '.join(ticks)})",
        f'set title "{label}"',
        f"plot ${name} using 2:1:(0):2:($1-0.36):($1+0.36):5 with boxxyerror "
        "linecolor rgb variable, \\",
        f"${name} using 2:1:3:4 with xerrorbars pointtype -1 linecolor rgb "
        f"'#{INK:06x}', \\",
        f"${name} using 4:1:6 with labels left offset 0.7,0 textcolor rgb "
        f"'#{INK:06x}'"))


def script(run, title, panels):
    drawn = [(bars(run, row, figure), label) for row, figure, label in panels]
    drawn = [(got, label) for got, label in drawn if got]
    across, down = min(len(drawn), 2), (len(drawn) + 1) // 2
    note = (f"Median of {run['rounds']} rounds, and least and most; "
            "*: in one namespace")
    height = 75 + down * (50 + 20 * max((len(got) for got, _ in drawn), default=0))
    return "\n".join((
        f"set terminal svg size {430 * across},{height} dynamic font 'sans-serif,12'",
        f"set multiplot layout {down},{across} title "
        f"\"{title}\\n{{/*0.8 {note}}}\" textcolor rgb '#{INK:06x}' font ',14'",
        "set encoding utf8", "unset key", "set border 0", "unset xtics",
        f"set ytics scale 0 textcolor rgb '#{INK:06x}'",
        f"set title offset 0,-0.6 textcolor rgb '#{INK:06x}'",
        "set style fill solid 1 noborder",
        "set bars 0.4", "set lmargin 21", "set rmargin 1",
        *(panel(got, label, f"d{i}") for i, (got, label) in enumerate(drawn)),
        ""))


def draw(run):
    for name, title, panels in FIGURES:
        svg = subprocess.run(["gnuplot"], input=script(run, title, panels),
                             text=True, check=True, stdout=subprocess.PIPE).stdout
        with open(f"{HERE}/{name}.svg", "w", encoding="utf-8") as f:
            f.write(svg)


def median(run, row, forwarder, figure):
    return run["rows"][row][forwarder][figure][0]


def conclusion(run):
    """Returns three sentences, or none if a forwarder was not measured."""
    def ratio(row, figure, ours="nsfwd", other="haproxy"):
        return number(median(run, row, ours, figure) /
                      median(run, row, other, figure))

    pool = "nsfwd workers=2"
    try:
        return (
            "By default each connection is a process of its own, and that has a "
            f"price: with 32 clients {ratio('crr32', 'conn/s')} of haproxy's "
            f"connections per second, and {ratio('idle', 'KiB/conn')} times its "
            f"memory, {number(median(run, 'idle', 'nsfwd', 'KiB/conn'))} KiB. "
            "`workers=2` is the other choice, where connections share two "
            f"processes: {ratio('crr32', 'conn/s', pool)} of haproxy's rate, "
            f"{ratio('idle', 'KiB/conn', pool)} of its memory. "
            "Bytes cost the same in both: one stream moves at "
            f"{ratio('bulk1up', 'Gbit/s')} of haproxy's speed for "
            f"{ratio('bulk1up', 'CPU s/GB')} of its processor time, datagrams at "
            f"{ratio('flood64', 'delivered/s', other='nginx stream')} times the "
            "rate of nginx.")
    except KeyError:
        return ""


def load():
    """Returns the runs of results.json, [] if there are none."""
    try:
        with open(RESULTS, encoding="utf-8") as f:
            return json.load(f)
    except FileNotFoundError:
        return []


def save(run):
    """Puts a run in front of the newest of another machine."""
    runs = [run] + [r for r in load() if r["machine"] != run["machine"]][:1]
    text = json.dumps(runs, indent=1)
    # A figure's three numbers on one line.
    text = re.sub(r"\[\s+([-\d.e]+),\s+([-\d.e]+),\s+([-\d.e]+)\s+\]",
                  r"[\1, \2, \3]", text)
    with open(RESULTS, "w", encoding="utf-8") as f:
        f.write(text + "\n")
    return runs


def beside(runs):
    """Returns a table of the medians of each machine."""
    columns = [(run, panel) for panel in BESIDE for run in runs]
    lines = ["| |" + "".join(f" {panel[2]}, {chr(65 + runs.index(run))} |"
                             for run, panel in columns),
             "|---|" + "---:|" * len(columns)]
    for name in runs[0]["rows"]["crr32"]:
        cells = [run["rows"].get(row, {}).get(name, {}).get(figure)
                 for run, (row, figure, _) in columns]
        lines.append(f"| {name} |" + "".join(
            f" {number(cell[0]) if cell else '-'} |" for cell in cells))
    return "\n".join(lines)


if __name__ == "__main__":
    draw(load()[0])
