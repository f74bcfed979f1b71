#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What programs cost to compile: seconds, memory and size by the number of models in one source file, as a Markdown table."""

import argparse
import os
import pathlib
import shutil
import subprocess
import sys
import tempfile
import time

ROOT = pathlib.Path(__file__).resolve().parent.parent
EXTERN = ROOT / "examples" / "extern_template"

# n_layer, n_embd, head_size, kv_cache_compression_ratio, cache: no two alike, since what two share is compiled once.
MODELS = [
    (12, 768, 64, 16, "compressed_keys<gf::bf16>"),
    (24, 2048, 64, 16, "compressed_keys<gf::int8>"),
    (6, 128, 32, 16, "expanded_kv<gf::bf16>"),
    (12, 512, 64, 8, "full_keys<gf::bf16>"),
    (12, 1024, 64, 32, "compressed_keys<gf::bf16>"),
    (32, 4096, 128, 16, "compressed_keys<gf::int8>"),
    (9, 384, 48, 4, "expanded_kv<float>"),
    (6, 256, 32, 1, "full_keys<float>"),
    (16, 1536, 96, 16, "compressed_keys<float>"),
    (24, 1280, 80, 20, "compressed_keys<gf::bf16>"),
    (40, 5120, 128, 40, "compressed_keys<gf::int8>"),
    (18, 896, 64, 14, "expanded_kv<gf::bf16>"),
]


def program(count):
    """A program with so many models, each loaded, read to and asked for logits."""
    lines = [
        "#include <goldfinch/goldfinch.hpp>",
        "namespace gf = goldfinch;",
        "template <gf::config C, class Cache>",
        "float use(char const* file) {",
        "    auto const lm = gf::model<C, gf::simd<gf::bf16>, Cache>::load(file);",
        "    gf::session session{lm};",
        "    session.append(gf::byte_tokenizer{}.encode(file));",
        "    return session.step(1)[0];",
        "}",
        "int main(int, char** argv) {",
        "    float sum = 0;",
    ]
    for layers, width, head, ratio, cache in MODELS[:count]:
        config = f".n_layer = {layers}, .n_embd = {width}, .head_size = {head}, .kv_cache_compression_ratio = {ratio}"
        lines.append(f"    sum += use<gf::checked({{{config}}}), gf::{cache}>(argv[1]);")
    return "\n".join(lines + ["    return sum > 0 ? 0 : 1;", "}", ""])


def cost(command):
    """Wall seconds, processor seconds and the most memory any process of the command took, in MB."""
    start = time.monotonic()
    child = subprocess.Popen([str(c) for c in command], stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    errors = child.stderr.read()
    _, status, usage = os.wait4(child.pid, 0)  # covers the processes it waited for, such as cc1plus
    child.returncode = os.waitstatus_to_exitcode(status)
    if child.returncode != 0:
        sys.exit(f"{' '.join(map(str, command))}\n{errors[:4000]}")
    kib = usage.ru_maxrss if sys.platform != "darwin" else usage.ru_maxrss / 1024
    return time.monotonic() - start, usage.ru_utime + usage.ru_stime, kib * 1024 / 1e6


def text_size(file):
    """Bytes of code and constants in a linked program, as `size` counts them; without that tool, of the whole file."""
    tool = shutil.which("size")
    if tool is None:
        return file.stat().st_size
    return int(subprocess.run([tool, file], check=True, capture_output=True, text=True).stdout.splitlines()[1].split()[0])


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--compilers", default="g++,clang++", help="separated by commas; those not found are left out (g++,clang++)")
    parser.add_argument("--models", default="1,4,12", help="how many in a program, separated by commas (1,4,12)")
    parser.add_argument("--eigen", default="/usr/include/eigen3", help="Eigen's headers (/usr/include/eigen3)")
    parser.add_argument("--include", default=ROOT / "include", type=pathlib.Path, help="goldfinch's headers (those beside this file)")
    parser.add_argument("--flags", default="-O2 -march=native -DNDEBUG", help="how to compile (-O2 -march=native -DNDEBUG)")
    options = parser.parse_args()
    counts = [int(n) for n in options.models.split(",")]
    if not all(1 <= n <= len(MODELS) for n in counts):
        sys.exit(f"--models: from 1 to {len(MODELS)}")
    flags = ["-std=c++20", *options.flags.split(), "-I", options.include, "-isystem", options.eigen]

    print(f"Flags: `-std=c++20 {options.flags}`, no precompiled header, one compiler at a time.\n")
    print("| compiler | source file | wall s | user+sys s | peak MB | program's text, kB |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as folder:
        folder = pathlib.Path(folder)
        for name in options.compilers.split(","):
            compiler = shutil.which(name)
            if compiler is None:
                continue
            version = subprocess.run([compiler, "-dumpfullversion", "-dumpversion"], capture_output=True, text=True).stdout.strip()

            def compile_one(label, source):
                made = folder / "a.o"
                made = made.with_stem(source.stem + str(len(list(folder.iterdir()))))
                figures = cost([compiler, *flags, "-c", source, "-o", made])
                return made, "| {} {} | {} | {:.1f} | {:.1f} | {:.0f} |".format(name, version, label, *figures)

            def link(objects):
                linked = folder / "program"
                cost([compiler, "-s", *objects, "-o", linked, "-pthread"])
                return f" {text_size(linked) / 1e3:.0f} |"

            headers = folder / "headers.cpp"
            headers.write_text("#include <goldfinch/goldfinch.hpp>\nint main() {}\n")
            made, line = compile_one("the headers alone", headers)
            print(line + link([made]), flush=True)
            for count in counts:
                source = folder / f"models_{count}.cpp"
                source.write_text(program(count))
                made, line = compile_one("1 model" if count == 1 else f"{count} models", source)
                print(line + link([made]), flush=True)
            if EXTERN.is_dir():
                made, line = compile_one("examples/hello.cpp", ROOT / "examples" / "hello.cpp")
                print(line + link([made]), flush=True)
                model, line = compile_one("extern_template/shakespeare.cpp", EXTERN / "shakespeare.cpp")
                print(line + " |", flush=True)
                user, line = compile_one("extern_template/main.cpp", EXTERN / "main.cpp")
                print(line + link([user, model]), flush=True)


if __name__ == "__main__":
    main()
