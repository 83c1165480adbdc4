# Cross build for arm64 with Debian's gcc-aarch64-linux-gnu, run under qemu-user. The arm64 libraries lie in a folder of
# their own, filled by scripts/sysroot.sh, so that the machine's package database never learns of a second architecture.
set(CMAKE_SYSTEM_NAME Linux)
set(CMAKE_SYSTEM_PROCESSOR aarch64)
set(CMAKE_C_COMPILER aarch64-linux-gnu-gcc)

get_filename_component(MOE_SOURCE "${CMAKE_CURRENT_LIST_DIR}/.." ABSOLUTE)
set(CMAKE_SYSROOT "${MOE_SOURCE}/build/sysroot-arm64")
if(NOT EXISTS "${CMAKE_SYSROOT}/.complete")
    message(FATAL_ERROR "no arm64 libraries in ${CMAKE_SYSROOT}: run scripts/sysroot.sh first")
endif()
set(CMAKE_FIND_ROOT_PATH_MODE_PROGRAM NEVER)
set(CMAKE_FIND_ROOT_PATH_MODE_LIBRARY ONLY)
set(CMAKE_FIND_ROOT_PATH_MODE_INCLUDE ONLY)
set(ENV{PKG_CONFIG_SYSROOT_DIR} "${CMAKE_SYSROOT}")
set(ENV{PKG_CONFIG_LIBDIR} "${CMAKE_SYSROOT}/usr/lib/aarch64-linux-gnu/pkgconfig")
set(ENV{PKG_CONFIG_PATH} "")

find_program(MOE_QEMU qemu-aarch64 REQUIRED NO_CMAKE_FIND_ROOT_PATH)
set(CMAKE_CROSSCOMPILING_EMULATOR "${MOE_QEMU};-L;${CMAKE_SYSROOT}")
