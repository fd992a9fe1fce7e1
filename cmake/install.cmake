# cmake --install build/release --prefix P puts the program under P/bin and, for find_package(tiller),
# headers and static libraries under P/include and P/lib. Targets: tiller::runtime, tiller::kernels,
# tiller::autograd, tiller::nn, tiller::diffusion, and tiller::tiller for all of them.
include(GNUInstallDirs)
include(CMakePackageConfigHelpers)

set(installed tiller_options)
if(TILLER_HAVE_ONEDNN)
  list(APPEND installed tiller_dnnl)
endif()
if(TILLER_HAVE_CUDA)
  list(APPEND installed tiller_cuda_kernels)
endif()
foreach(folder runtime kernels autograd nn diffusion)
  list(APPEND installed tiller_${folder})
  set_target_properties(tiller_${folder} PROPERTIES EXPORT_NAME ${folder})
  install(DIRECTORY ${CMAKE_SOURCE_DIR}/${folder} COMPONENT library
          DESTINATION ${CMAKE_INSTALL_INCLUDEDIR}/tiller FILES_MATCHING PATTERN "*.h")
endforeach()
install(TARGETS ${installed} EXPORT tiller_targets
        ARCHIVE DESTINATION ${CMAKE_INSTALL_LIBDIR} COMPONENT library)
set(package_folder ${CMAKE_INSTALL_LIBDIR}/cmake/tiller)
install(EXPORT tiller_targets NAMESPACE tiller:: FILE tiller-targets.cmake
        DESTINATION ${package_folder} COMPONENT library)
configure_package_config_file(cmake/tiller-config.cmake.in ${CMAKE_BINARY_DIR}/tiller-config.cmake
                              INSTALL_DESTINATION ${package_folder})
write_basic_package_version_file(${CMAKE_BINARY_DIR}/tiller-config-version.cmake
                                 COMPATIBILITY SameMinorVersion)
install(FILES ${CMAKE_BINARY_DIR}/tiller-config.cmake
              ${CMAKE_BINARY_DIR}/tiller-config-version.cmake
        DESTINATION ${package_folder} COMPONENT library)

install(TARGETS tiller RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program)
if(TARGET tiller_bench)  # where it was built: a build of the program alone can be installed, too
  install(TARGETS tiller_bench RUNTIME DESTINATION ${CMAKE_INSTALL_BINDIR} COMPONENT program OPTIONAL)
endif()
# The demo's networks, where `tiller demo` and `tiller quality` look for them.
install(DIRECTORY ${CMAKE_SOURCE_DIR}/tools/demo_models
        DESTINATION ${CMAKE_INSTALL_DATADIR}/tiller COMPONENT program OPTIONAL)
