# What `cmake --install` leaves: programs, libmoe with its header and pkg-config file, the shipped checkpoint, documents.
# The programs find the library by its place relative to their own, so a whole prefix can be moved.
file(RELATIVE_PATH moe_bin_to_lib ${CMAKE_INSTALL_FULL_BINDIR} ${CMAKE_INSTALL_FULL_LIBDIR})
set_target_properties(moe-run moe-bench moe-compare moe-pack PROPERTIES INSTALL_RPATH "$ORIGIN/${moe_bin_to_lib}")
# An OpenBLAS that is a Python package's comes along, since the environment that it lies in may go.
if(MOE_SCIPY_OPENBLAS)
    install(FILES ${MOE_SCIPY_OPENBLAS} DESTINATION ${CMAKE_INSTALL_LIBDIR}/moe)
    set_target_properties(moe PROPERTIES INSTALL_RPATH "$ORIGIN/moe")
else()
    set_target_properties(moe PROPERTIES INSTALL_RPATH "${CMAKE_BUILD_RPATH}")
endif()

install(TARGETS moe LIBRARY PUBLIC_HEADER)
install(TARGETS moe-run moe-bench moe-compare moe-pack RUNTIME)
install(DIRECTORY models/storyteller DESTINATION ${CMAKE_INSTALL_DATADIR}/moe)
install(FILES LICENSE README.md CHANGELOG.md DESTINATION ${CMAKE_INSTALL_DOCDIR})
install(DIRECTORY docs DESTINATION ${CMAKE_INSTALL_DOCDIR} FILES_MATCHING PATTERN "*.md")

file(RELATIVE_PATH moe_pkgconfig_to_prefix ${CMAKE_INSTALL_FULL_LIBDIR}/pkgconfig ${CMAKE_INSTALL_PREFIX})
configure_file(cmake/moe.pc.in moe.pc @ONLY)
install(FILES ${CMAKE_CURRENT_BINARY_DIR}/moe.pc DESTINATION ${CMAKE_INSTALL_LIBDIR}/pkgconfig)
