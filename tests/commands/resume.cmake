# SPDX-License-Identifier: Apache-2.0
# The example that goes on where its last run stopped: two runs from nothing.
include(${CMAKE_CURRENT_LIST_DIR}/command.cmake)

run(0 ${RESUME} ${MODEL})
expect("${err}" "\\(208 tokens so far, saved in story\\.session")
run(0 ${RESUME} ${MODEL})
expect("${err}" "\\(408 tokens so far, saved in story\\.session")
