#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What nvcc's assembler says of each kernel, as a table: registers of a thread, its stack, and what spills to it.

The log of a build with -Xptxas -v, such as .ci/run's:  python3 tests/gpu/kernels.py build/cuda.log [--arch sm_90a] [--only REGEX]
With --only every instantiation whose name matches has its line, elsewhere all of a kernel's share one.
"""
import argparse
import re
import subprocess
import sys


def kernels(lines, arch):
    """(mangled name, registers, bytes of stack, bytes spilled) of each kernel in a log."""
    name = stack = spilled = None
    for line in lines:
        if found := re.search(r"Compiling entry function '(\w+)' for '(\w+)'", line):
            name = found[1] if found[2] == arch else None
        elif found := re.search(r"(\d+) bytes stack frame, (\d+) bytes spill stores, (\d+) bytes spill loads", line):
            stack, spilled = int(found[1]), int(found[2]) + int(found[3])
        elif name and (found := re.search(r"Used (\d+) registers", line)):
            yield name, int(found[1]), stack, spilled
            name = None


def span(numbers):
    least, most = min(numbers), max(numbers)
    return f"{least}" if least == most else f"{least} to {most}"


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("log")
    parser.add_argument("--arch", default="sm_90a")
    parser.add_argument("--only", metavar="REGEX")
    options = parser.parse_args()
    with open(options.log, errors="replace") as file:
        found = list(dict.fromkeys(kernels(file, options.arch)))
    if not found:
        sys.exit(f"{options.log} says nothing of kernels for {options.arch}: compile with -Xptxas -v")
    names = subprocess.run(["c++filt"], input="\n".join(k[0] for k in found), capture_output=True, text=True, check=True).stdout.splitlines()
    table = {}
    for name, (_, *figures) in zip(names, found):
        name = re.sub(r"\w+::|\(anonymous namespace\)::|^void |\((?:\w+::)*\w+\)(?=\d)", "", name)  # scopes, and the types of enumerators
        name = re.sub(r"\(.*", "", name) if options.only else re.match(r"\w+", name)[0]
        if not options.only or re.search(options.only, name):
            table.setdefault(name, []).append(figures)
    print("| kernel | instantiations | registers | stack, bytes | spills, bytes |\n|---|---|---|---|---|")
    for name, figures in sorted(table.items()):
        registers, stack, spilled = zip(*figures)
        print(f"| `{name}` | {len(figures)} | {span(registers)} | {span(stack)} | {span(spilled)} |")


if __name__ == "__main__":
    main()
