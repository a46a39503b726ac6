"""Says whether moments are inside weekly windows, by Python's zoneinfo.

The first line of input is empty; it is answered with the names of all zones.
Each other line is a zone, windows and moments, with tabs in between:

    Europe/Warsaw  0 540 480,5 600 240  1774742400 1789 290

A window is a weekday from Monday 0, a minute of that day and a length in
minutes. The moments are the first, a step and a number, in Unix seconds. The
answer is one line with a 1 for each moment that is inside and a 0 for each that
is not, or "unknown" for a zone this Python does not have.
"""

import sys
from datetime import datetime
from zoneinfo import ZoneInfo, available_timezones

WEEK = 7 * 24 * 60


def minutes(windows):
    inside = bytearray(WEEK)
    for window in windows.split(","):
        day, start, length = map(int, window.split(" "))
        for m in range(length):
            inside[(day * 1440 + start + m) % WEEK] = 1
    return inside


def main():
    known = {}
    for line in sys.stdin:
        line = line.rstrip("\n")
        if not line:
            print(" ".join(sorted(available_timezones())), flush=True)
            continue
        name, windows, moments = line.split("\t")
        if windows not in known:
            known[windows] = minutes(windows)
        inside = known[windows]
        try:
            zone = ZoneInfo(name)
        except Exception:
            print("unknown", flush=True)
            continue
        first, step, count = map(int, moments.split(" "))
        answer = []
        for i in range(count):
            t = datetime.fromtimestamp(first + i * step, zone)
            answer.append("1" if inside[t.weekday() * 1440 + t.hour * 60 + t.minute] else "0")
        print("".join(answer), flush=True)


main()
