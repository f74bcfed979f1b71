# SPDX-License-Identifier: Apache-2.0
# Compiles for aarch64 Linux on another machine, and runs what that makes with QEMU:
#
#     apt-get install g++-aarch64-linux-gnu qemu-user
#     cmake --preset aarch64 && cmake --build --preset aarch64 && ctest --preset aarch64
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_CXX_COMPILER aarch64-linux-gnu-g++)
set(CMAKE_CROSSCOMPILING_EMULATOR qemu-aarch64 -cpu max -L /usr/aarch64-linux-gnu)

# Eigen, xsimd, doctest and CLI11 are headers, and the host's serve: /usr/include is the last folder that the compiler searches, behind its
# own C library. CMake looks for packages in lib/aarch64-linux-gnu; Debian keeps xsimd's in the host's.
file(GLOB goldfinch_host_packages /usr/lib/*-linux-gnu/cmake)
list(APPEND CMAKE_PREFIX_PATH ${goldfinch_host_packages})
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
