include(CheckCCompilerFlag)
include(CheckPIESupported)
check_pie_supported(LANGUAGES C) # so that programs are linked as position-independent too

# Flags of every target. Floating point is what the source says: no contraction, no reassociation.
add_compile_options(-ffp-contract=off -fno-math-errno -Wall -Wextra -Wconversion -Wshadow -Wstrict-prototypes
                    -Wmissing-prototypes -Wpointer-arith -Wvla)
if(MOE_WERROR)
    add_compile_options(-Werror)
endif()
if(MOE_SANITIZE)
    add_compile_options(-fsanitize=${MOE_SANITIZE} -fno-omit-frame-pointer -fno-sanitize-recover=all)
    # a sanitizer's dlopen looks for libraries from its own place: the program's old kind of RPATH holds there too
    add_link_options(-fsanitize=${MOE_SANITIZE} -Wl,--disable-new-dtags)
elseif(CMAKE_BUILD_TYPE STREQUAL "Release")
    add_compile_options(-fstack-protector-strong -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2)
    add_link_options(-Wl,-z,relro,-z,now,-z,noexecstack)
    # A large frame touches every page of the stack. scripts/hardening.sh looks at what came of all of it.
    set(CMAKE_REQUIRED_FLAGS -Werror)
    check_c_compiler_flag(-fstack-clash-protection MOE_HAS_STACK_CLASH_PROTECTION)
    unset(CMAKE_REQUIRED_FLAGS)
    if(MOE_HAS_STACK_CLASH_PROTECTION)
        add_compile_options(-fstack-clash-protection)
    endif()
endif()
# Every branch as it is written, counted exactly whatever the number of threads; the tests themselves are not counted.
# Where the loops over numbers are, tests would take ten times as long: those are optimised, and threads that count at
# the same moment lose counts, of which there are millions.
if(MOE_COVERAGE)
    set(MOE_COVERAGE_OPTIONS -fprofile-arcs -ftest-coverage -fprofile-update=atomic -O0)
    set(MOE_COVERAGE_LOOPS -O2 -fprofile-update=single)
    add_compile_options(${MOE_COVERAGE_OPTIONS})
    add_link_options(--coverage)
endif()
add_compile_definitions(_GNU_SOURCE)
include_directories(${CMAKE_SOURCE_DIR})

# moe_layer(NAME sources...): the object library of one folder.
function(moe_layer name)
    add_library(moe_${name} OBJECT ${ARGN})
endfunction()
