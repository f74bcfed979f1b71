# SPDX-License-Identifier: Apache-2.0
# cmake -P cmake/demo.cmake: sets everything up and lets the bundled model write.
include(${CMAKE_CURRENT_LIST_DIR}/setup.cmake)

install_missing(libeigen3-dev libxsimd-dev libcli11-dev)
build(${goldfinch_root}/build/demo TARGETS goldfinch-generate OPTIONS -D GOLDFINCH_BUILD_TESTS=OFF -D GOLDFINCH_BUILD_BENCHMARKS=OFF)
execute_process(
    COMMAND ${goldfinch_root}/build/demo/examples/goldfinch-generate
        -m ${goldfinch_root}/examples/models/shakespeare.safetensors --echo --seed 1 -n 300 "ROMEO:"
    COMMAND_ERROR_IS_FATAL ANY)
