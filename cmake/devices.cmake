# The device rows: every .cu file, and every *_device.cpp that lists the rows of an operation, is
# compiled once for each device that this machine can build. A device is missing: its rows are the empty
# ones of kernels/rows_device_none.cpp.
#
# Each file is compiled through a generated source of one line. (A LANGUAGE property on the .cu file
# itself would take effect for every target of the folder, and one object cannot serve both.)

find_path(BOOST_CONTEXT_INCLUDE_DIR boost/context/detail/fcontext.hpp)
find_library(BOOST_CONTEXT_LIBRARY boost_context)
set(TILLER_HAVE_SIMT OFF)
if(TILLER_SIMT AND BOOST_CONTEXT_INCLUDE_DIR AND BOOST_CONTEXT_LIBRARY)
  set(TILLER_HAVE_SIMT ON)
endif()
message(STATUS "simt device: ${TILLER_HAVE_SIMT}")

# Writes sources that include `files` into the build tree and gives their names in `out`.
function(tiller_include_lines out device extension)
  set(lines)
  foreach(file ${ARGN})
    file(RELATIVE_PATH name ${CMAKE_SOURCE_DIR} ${file})
    set(line ${CMAKE_BINARY_DIR}/${device}/${name}${extension})
    file(CONFIGURE OUTPUT ${line} CONTENT "#include \"${name}\"\n")
    list(APPEND lines ${line})
  endforeach()
  set(${out} ${lines} PARENT_SCOPE)
endfunction()

# Adds to the library tiller_kernels the rows of one device.
function(tiller_device_rows device)
  file(GLOB_RECURSE hosts CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/*_device.cpp)
  file(GLOB_RECURSE kernels CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/kernels/*.cu)
  string(TOUPPER ${device} upper)
  if(NOT TILLER_HAVE_${upper})
    set(hosts ${CMAKE_SOURCE_DIR}/kernels/rows_device_none.cpp)
    set(kernels)
  endif()
  tiller_include_lines(sources ${device} .cpp ${hosts})
  if(device STREQUAL "simt")
    tiller_include_lines(kernel_sources simt .cpp ${kernels})
    list(APPEND sources ${kernel_sources})
  endif()
  set_source_files_properties(${sources} PROPERTIES COMPILE_DEFINITIONS TILLER_DEVICE=${device})
  target_sources(tiller_kernels PRIVATE ${sources})
  if(TILLER_HAVE_${upper} AND device STREQUAL "simt")
    target_include_directories(tiller_kernels SYSTEM PRIVATE ${BOOST_CONTEXT_INCLUDE_DIR})
    target_link_libraries(tiller_kernels PUBLIC ${BOOST_CONTEXT_LIBRARY})
  elseif(TILLER_HAVE_${upper})
    tiller_cuda_library(${kernels})
    target_link_libraries(tiller_kernels PUBLIC tiller_cuda_kernels CUDA::cudart_static)
    target_link_libraries(tiller_cuda_kernels INTERFACE tiller_kernels)  # each needs the other
  endif()
endfunction()

# The library of the .cu files. What ptxas says about each kernel is kept beside its object
# (tools/registers); nvcc's --threads would mix the architectures' lines, and ninja fills the cores by
# itself. Files named *_sm90a.cu use what only Hopper has, and are compiled for it alone.
function(tiller_cuda_library)
  set(hopper ${ARGN})
  list(FILTER hopper INCLUDE REGEX "_sm90a\\.cu$")
  set(portable ${ARGN})
  list(FILTER portable EXCLUDE REGEX "_sm90a\\.cu$")
  add_library(tiller_cuda_kernels STATIC ${portable})
  set(libraries tiller_cuda_kernels)
  if(hopper)
    add_library(tiller_cuda_hopper OBJECT ${hopper})
    set_target_properties(tiller_cuda_hopper PROPERTIES CUDA_ARCHITECTURES 90a-real)
    target_sources(tiller_cuda_kernels PRIVATE $<TARGET_OBJECTS:tiller_cuda_hopper>)
    list(APPEND libraries tiller_cuda_hopper)
  endif()
  set(launcher ${CMAKE_SOURCE_DIR}/cmake/ptxas_log)
  if(CCACHE)
    list(APPEND launcher ${CCACHE})
  endif()
  foreach(library ${libraries})
    target_include_directories(${library} PRIVATE ${CMAKE_SOURCE_DIR})
    target_compile_definitions(${library} PRIVATE TILLER_DEVICE=cuda)
    set_target_properties(${library} PROPERTIES
      CUDA_STANDARD 20 CUDA_COMPILER_LAUNCHER "${launcher}")
    target_compile_options(${library} PRIVATE -Xptxas=-v)
  endforeach()
endfunction()
