# SPDX-License-Identifier: Apache-2.0
include(${CMAKE_CURRENT_LIST_DIR}/command.cmake)

set(generate ${GENERATE} -m ${MODEL} -n 60)

# Text on standard output, figures on standard error; a seed decides the text, whatever the number of threads.
run(0 ${generate} --seed 3 --threads 1 "ROMEO:")
set(text "${out}")
expect("${err}" "prompt: 6 tokens in .*tokens/s.*text: 60 tokens in .*tokens/s.*cache: compressed, [0-9]+ bytes for 66 tokens, [0-9.]+ bytes/token\n$")
string(LENGTH "${text}" length)
if(length LESS 60)
    message(FATAL_ERROR "60 bytes were asked for, these came:\n${text}")
endif()
run(0 ${generate} --seed 3 --threads 2 "ROMEO:")
same("${out}" "${text}")
run(0 ${generate} --seed 4 "ROMEO:")
if(out STREQUAL text)
    message(FATAL_ERROR "two seeds gave the same text:\n${out}")
endif()

# Drafts are lossless.
run(0 ${generate} --seed 3 --draft 8 "ROMEO:")
same("${out}" "${text}")
expect("${err}" "drafts: [0-9.]+ tokens a pass\n")

# The prompt from standard input is the same prompt.
file(WRITE ${WORK}/prompt "ROMEO:")
set(INPUT ${WORK}/prompt)
run(0 ${generate} --seed 3)
same("${out}" "${text}")
run(0 ${generate} --seed 3 --echo -)
same("${out}" "ROMEO:${text}")
unset(INPUT)

# Greedy text does not depend on the seed; a stop string ends the text and is not printed.
run(0 ${generate} --temperature 0 --seed 1 "ROMEO:")
set(greedy "${out}")
run(0 ${generate} --temperature 0 --seed 2 "ROMEO:")
same("${out}" "${greedy}")
string(SUBSTRING "${greedy}" 10 4 stop)
string(FIND "${greedy}" "${stop}" at)
string(SUBSTRING "${greedy}" 0 ${at} before)
run(0 ${generate} --temperature 0 --stop "${stop}" --stop "no such text" "ROMEO:")
same("${out}" "${before}")

foreach(cache compressed-int8 full expanded)
    run(0 ${generate} --cache ${cache} "ROMEO:")
    expect("${err}" "cache: ${cache}, ")
endforeach()

# Any bytes are a prompt.
string(ASCII 255 254 200 bytes)
run(0 ${generate} "${bytes}")
expect("${err}" "prompt: 3 tokens")

# Banned tokens are not drawn, however the list is given.
run(0 ${generate} --temperature 0 --ban 32,101 --ban 10 "ROMEO:")
if(out MATCHES "[ e\n]")
    message(FATAL_ERROR "space, e or newline were banned:\n${out}")
endif()
