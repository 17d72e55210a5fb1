# cmake --install: headers, libraries and a package, so that a project elsewhere says
#   find_package(xgrad REQUIRED)
#   target_link_libraries(app PRIVATE xgrad::xgrad)
include(CMakePackageConfigHelpers)

set(XGRAD_CMAKE_DIR ${CMAKE_INSTALL_LIBDIR}/cmake/xgrad)
set(libraries xgrad)
if(XGRAD_DOUBLE_LIBRARY)
  list(APPEND libraries xgrad64)
endif()
install(TARGETS ${libraries} EXPORT xgrad)
install(EXPORT xgrad NAMESPACE xgrad:: DESTINATION ${XGRAD_CMAKE_DIR} FILE xgradTargets.cmake)
install(DIRECTORY core nn optim models DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/xgrad FILES_MATCHING PATTERN "*.hpp")
install(FILES xgrad.hpp DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/xgrad)

configure_package_config_file(cmake/xgradConfig.cmake.in xgradConfig.cmake INSTALL_DESTINATION ${XGRAD_CMAKE_DIR})
write_basic_package_version_file(xgradConfigVersion.cmake COMPATIBILITY SameMinorVersion)
install(FILES ${PROJECT_BINARY_DIR}/xgradConfig.cmake ${PROJECT_BINARY_DIR}/xgradConfigVersion.cmake
  DESTINATION ${XGRAD_CMAKE_DIR})
