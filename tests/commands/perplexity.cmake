# SPDX-License-Identifier: Apache-2.0
include(${CMAKE_CURRENT_LIST_DIR}/command.cmake)

set(text "ROMEO:\nBut, soft! what light through yonder window breaks?\nIt is the east, and Juliet is the sun.\n")
file(WRITE ${WORK}/text "${text}")

run(0 ${PERPLEXITY} -m ${MODEL} text)
expect("${out}" "^scored tokens: 97\nscored bytes: 97\nperplexity: [0-9.]+\nnats per token: [0-9.]+\nbits per byte: [0-9.]+\nnats per byte: [0-9]+\\.[0-9]+\n$")
expect("${err}" "tokens/s, cache: expanded, ")
string(REGEX REPLACE ".*nats per byte: ([0-9.]+)\n$" "\\1" nats "${out}")
if(nats LESS 0.5 OR nats GREATER 2.5)
    message(FATAL_ERROR "Shakespeare's English costs the bundled model ${nats} nats a byte, which cannot be")
endif()

# The first token has nothing before it: it has no part in a mean, and a text of it alone has none.
file(WRITE ${WORK}/one "R")
run(1 ${PERPLEXITY} -m ${MODEL} one)
expect("${err}" "^goldfinch-perplexity: one: the text is one token, [^\n]*\n$")
same("${out}" "")

set(INPUT ${WORK}/text)
run(0 ${PERPLEXITY} -m ${MODEL} - --threads 1)
expect("${out}" "nats per byte: ${nats}\n$")
unset(INPUT)

# thousandths(number): as an integer, in `result`.
function(thousandths number)
    string(REGEX MATCH "^([0-9]+)\\.([0-9][0-9][0-9])" unused "${number}")
    math(EXPR result "${CMAKE_MATCH_1} * 1000 + 1${CMAKE_MATCH_2} - 1000")
    set(result ${result} PARENT_SCOPE)
endfunction()

thousandths(${nats})
set(expected ${result})
foreach(cache compressed compressed-int8 full expanded)
    run(0 ${PERPLEXITY} -m ${MODEL} --cache ${cache} text)
    string(REGEX REPLACE ".*nats per byte: ([0-9.]+)\n$" "\\1" other "${out}")
    thousandths(${other})
    math(EXPR difference "${result} - ${expected}")
    if(difference LESS -20 OR difference GREATER 20)
        message(FATAL_ERROR "the caches disagree: ${other} nats a byte with ${cache}, ${nats} with expanded")
    endif()
endforeach()
