# SPDX-License-Identifier: Apache-2.0
include(${CMAKE_CURRENT_LIST_DIR}/command.cmake)

run(0 ${CACHE_SIZES})
same("${err}" "")
# The paper's headline, by its own count, at L24 D2048 and L80 D8192.
expect("${out}" "\n  GoldFinch, as the paper counts +100 +260 +516 +644 +1,028\n")
expect("${out}" "times larger.*\n  GoldFinch, as the paper counts +369 +756 +1016 +1272 +2550\n")
# By hand: an id of 2 bytes, a scale of 4 and 2048 / 16 values of 1 are 134; 196608 / 134 is 1467.2.
run(0 ${CACHE_SIZES} --csv --context 1000)
expect("${out}" "^n_layer,n_embd,n_gold,kind,layout,bytes_per_token,full_kv_ratio,context_bytes\n")
expect("${out}" "\n24,2048,8,goldfinch,\"compressed_keys<int8>\",134,1467\\.2239,134000\n")
# 12 layers with a key and a value of 768 bytes and a scale each: 12 * 2 * (768 + 4).
expect("${out}" "\n12,768,4,goldfinch,\"llama_stack, int8\",18528,1\\.9896,18528000\n")
string(REGEX MATCHALL "\n" lines "${out}")
list(LENGTH lines count)
if(NOT count EQUAL 91)
    message(FATAL_ERROR "expected a heading and 18 layouts of 5 shapes, got ${count} lines\n${out}")
endif()

run(0 ${CACHE_SIZES} --context 1000000)
expect("${out}" "\n1000000 tokens .*\n  compressed_keys<bf16> +98\\.0 MB +258 MB +514 MB +642 MB +1\\.0 GB\n")
run(2 ${CACHE_SIZES} --context 0)
expect("${err}" "--context: .*usage: goldfinch-cache-sizes")
run(2 ${CACHE_SIZES} all)
