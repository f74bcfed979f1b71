# SPDX-License-Identifier: Apache-2.0
# A model that the commands were not built for: they say which they know, and print the type to paste.
include(${CMAKE_CURRENT_LIST_DIR}/command.cmake)

set(other ${CMAKE_CURRENT_LIST_DIR}/../data/golden/goldfinch_ratio2/model.safetensors)
foreach(arguments "${GENERATE};-m;${other};x" "${PERPLEXITY};-m;${other};${other}")
    run(1 ${arguments})
    expect("${err}" "was not built for such a model, only for shakespeare")
    expect("${err}" "goldfinch::checked\\({.*using my_model = .*examples/hello.cpp")
endforeach()
