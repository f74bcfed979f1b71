#!/bin/sh
# SPDX-License-Identifier: Apache-2.0
# Measures again what the README shows, and draws it into bench/pictures: 4 minutes and 3 GB of memory. python3 needs matplotlib.
#
#     bench/pictures.sh build/default/examples/goldfinch-bench [command to run each measurement under, such as chrt --fifo 1]
set -eu
bench=$1
shift
to=$(dirname "$0")/pictures
mkdir -p "$to"

"$@" "$bench" --shape 12,768 -p 512 -n 64 --weights bf16,int8,int4 -o csv >"$to/L12_D768.csv"
for weights in bf16 int8 int4; do
    "$@" "$bench" --shape 24,2048 -p 512 -n 16 -r 3 --weights $weights -o csv >"$to/L24_D2048_$weights.csv"
done
"$@" "$bench" --shape 12,768 -p 512 -n 16 -r 3 -d 0,1024,2048,4096,8192 --cache compressed,compressed-int8,full,expanded,expanded-int8 -o csv \
    >"$to/context.csv"

python3 "$(dirname "$0")/plot.py" "$to/L12_D768.csv" \
    "$to"/L24_D2048_bf16.csv "$to"/L24_D2048_int8.csv "$to"/L24_D2048_int4.csv -o "$to"
python3 "$(dirname "$0")/plot.py" "$to/context.csv" -o "$to"
