# SPDX-License-Identifier: Apache-2.0
# The README's first C++ block is a program: it compiles without warnings and runs beside the bundled model.
set(readme ${PROJECT_SOURCE_DIR}/README.md)
if(NOT EXISTS ${readme})
    return()
endif()

set_property(DIRECTORY APPEND PROPERTY CMAKE_CONFIGURE_DEPENDS ${readme})
file(READ ${readme} text)
string(FIND "${text}" "```cpp\n" begin)
if(begin EQUAL -1)
    return()
endif()
math(EXPR begin "${begin} + 7")
string(SUBSTRING "${text}" ${begin} -1 text)
string(FIND "${text}" "```" end)
string(SUBSTRING "${text}" 0 ${end} text)

# The program may name the model as it lies in the repository or in the working directory; what it writes stays here.
set(work ${CMAKE_CURRENT_BINARY_DIR}/readme)
set(model ${PROJECT_SOURCE_DIR}/examples/models/shakespeare.safetensors)
file(CONFIGURE OUTPUT ${work}/readme.cpp CONTENT "${text}" @ONLY)
file(CREATE_LINK ${PROJECT_SOURCE_DIR}/examples ${work}/examples SYMBOLIC)
file(CREATE_LINK ${model} ${work}/shakespeare.safetensors SYMBOLIC)

add_executable(test_readme ${work}/readme.cpp)
goldfinch_program(test_readme)
add_test(NAME readme COMMAND test_readme WORKING_DIRECTORY ${work})
set_tests_properties(readme PROPERTIES TIMEOUT 120 REQUIRED_FILES ${model})
