# SPDX-License-Identifier: Apache-2.0
include(${CMAKE_CURRENT_LIST_DIR}/command.cmake)

run(0 ${INSPECT} ${MODEL})
expect("${out}" "vocab_size = 256\n.*n_layer = 6\n.*n_gold = 2\n")
expect("${out}" "goldfinch::checked\\({\\.vocab_size = 256, \\.n_layer = 6, .*using my_model = goldfinch::model<my_config, goldfinch::simd<goldfinch::bf16>>;")
same("${err}" "")
