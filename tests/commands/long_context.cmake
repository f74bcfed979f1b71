# SPDX-License-Identifier: Apache-2.0
# The long context, at a length that takes seconds.
include(${CMAKE_CURRENT_LIST_DIR}/command.cmake)

run(0 ${LONG_CONTEXT} --tokens 3000 --steps 2 --session long.session --threads 2)
expect("${out}" "^read: 3000 of 3000 tokens, [0-9.]+ tokens/s with [12] threads\nfirst and last twentieth: [0-9.]+ and [0-9.]+ tokens/s\n")
expect("${out}" "\ntoken [0-9]+ after [0-9.]+ s\ntoken [0-9]+ after [0-9.]+ s\nthe restored session gives the logits of the saved one, bit for bit\n$")
# 12 passes; each of them ends a twentieth or more.
string(REGEX MATCHALL "[0-9]+ %  +[0-9]+ tokens  +[0-9.]+ s  +[0-9.]+ tokens/s\n" lines "${err}")
list(LENGTH lines count)
if(NOT count EQUAL 12)
    message(FATAL_ERROR "expected 12 lines of progress, got ${count}:\n${err}")
endif()
expect("${err}" "^  8 %        256 tokens .*\n100 %       3000 tokens ")

# 98 bytes of cache a token in whole pages of 64, and a file of no more than that and the state.
string(REGEX MATCH "cache: ([0-9]+) bytes, ([0-9.]+) a token; state: ([0-9]+) bytes" unused "${out}")
set(cache ${CMAKE_MATCH_1})
set(state ${CMAKE_MATCH_3})
if(cache LESS 294000 OR cache GREATER 320000)
    message(FATAL_ERROR "3000 tokens should take about 294,000 bytes of cache, found ${cache}")
endif()
file(SIZE ${WORK}/long.session size)
expect("${out}" "\nsession file: ${size} bytes, ")
math(EXPR most "${cache} + ${state}")
if(size LESS 294000 OR size GREATER most)
    message(FATAL_ERROR "a session file of ${size} bytes, from a cache of ${cache} and a state of ${state}")
endif()

run(1 ${LONG_CONTEXT} --tokens 3000 --session none/long.session)
same("${out}" "")
expect("${err}" "^goldfinch-long-context: none/long.session: cannot be written: No such file[^\n]*\n$")
run(1 ${LONG_CONTEXT} --tokens 3000 -m ${MODEL})
expect("${err}" "^goldfinch-long-context: .*shakespeare.safetensors: ")
run(2 ${LONG_CONTEXT} --tokens 0)
expect("${err}" "--tokens: expected a whole number from 1 to 1000000000, found '0'\nusage: goldfinch-long-context")
