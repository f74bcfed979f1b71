# SPDX-License-Identifier: Apache-2.0
include(${CMAKE_CURRENT_LIST_DIR}/command.cmake)

# count(text regex n): the regex must match n times.
function(count text regex n)
    string(REPLACE ";" "," text "${text}")
    string(REGEX MATCHALL "${regex}" matches "${text}")
    list(LENGTH matches found)
    if(NOT found EQUAL n)
        message(FATAL_ERROR "expected ${n} matches of `${regex}`, found ${found} in\n${text}")
    endif()
endfunction()

# Names, all and some.
run(0 ${LAB} --list)
expect("${out}" "^goldfinch\n.*\nllama\n.*\nGOLD on hgrn2\n")
run(0 ${LAB} --list --only keys --only llama)
same("${out}" "compressed_keys<int8>\nfull_keys\nllama\n")

# A table, and the same as CSV. An old file is replaced.
file(WRITE ${WORK}/table.csv "old")
run(0 ${LAB} --quick --only goldfinch --only int8 --only _c2 --threads 2 --csv table.csv)
same("${err}" "")
expect("${out}" "^10\\.8 M parameters each.* 2 threads; --quick: .*\nPre-fill: reading 1,024 tokens")
set(figure " +[0-9]+\\.?[0-9]*")
count("${out}" "\n[a-z0-9_<> ]+ 1[01][0-9][0-9][0-9][0-9][0-9][0-9]${figure}${figure}${figure}${figure}${figure}${figure}${figure}${figure}${figure}${figure}" 4)
expect("${out}" "\ncompressed_keys<int8> +10809344 +21\\.6 +22 +560128 ")
expect("${out}" "\ngptalpha on finch_c2 +[0-9]+ +22\\.0 +4096 ")

file(READ ${WORK}/table.csv csv)
count("${csv}" "\n" 7)
expect("${csv}" "^# lab: 10\\.8 M parameters[^\n]*\n# cpu: [^\n]+, [a-z0-9_]+\nname,parameters,weights_mb,cache_bytes_per_token,state_bytes,prefill_tokens_per_s,decode_tokens_per_s,context,ms_per_token_at_context,prefill_flops_per_token,step_flops,step_weight_bytes,step_cache_bytes,remembers\n\"goldfinch\",10809344,21\\.62,34,560128,")
set(figure ",[0-9]+\\.?[0-9]*")
count("${csv}" "\n\"[a-z0-9_<> ]+\"${figure}${figure}${figure}${figure}${figure}${figure},1024${figure}${figure}${figure}${figure}${figure},(state alone|shared keys|own keys)" 4)
expect("${csv}" "\n\"finch_c2\",[0-9]+,[0-9.]+,0,[^\n]+,state alone\n")
expect("${csv}" "\n\"gptalpha on finch_c2\",[^\n]+,own keys\n")
draws(table.csv lab)

# An exact name is that one alone.
run(0 ${LAB} --list --only finch)
same("${out}" "finch\n")

# What cannot be is said in one line before anything is measured, and leaves nothing behind.
run(1 ${LAB} --csv none/table.csv)
same("${out}" "")
expect("${err}" "^goldfinch-lab: none/table.csv: cannot be written: No such file[^\n]*\n$")
run(1 ${LAB} --csv ${WORK})
same("${out}" "")
expect("${err}" "^goldfinch-lab: [^\n]* is a directory\n$")
run(1 ${LAB} --only llama --only camel)
same("${out}" "")
expect("${err}" "^goldfinch-lab: --only camel: no configuration has that in its name, see --list\n$")
run(2 ${LAB} --threads -1)
expect("${err}" "--threads: .*usage: goldfinch-lab")
run(2 ${LAB} something)
file(GLOB files RELATIVE ${WORK} ${WORK}/*)
list(REMOVE_ITEM files pictures)
same("${files}" "table.csv")
