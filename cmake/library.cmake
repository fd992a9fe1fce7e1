# tiller_library(folder deps...): every .cpp below the folder becomes the static library
# tiller_<folder>. Three kinds of file are picked by name, so that no source needs an #ifdef:
#   *_avx512.cpp   compiled for AVX-512; its rows ask the processor in supports()
#   *_onednn.cpp   oneDNN's peer rows, or *_onednn_none.cpp where oneDNN is not installed
#   *_cuda_none.cpp the empty rows that stand in where the CUDA toolkit is off
function(tiller_library folder)
  file(GLOB_RECURSE sources CONFIGURE_DEPENDS ${CMAKE_SOURCE_DIR}/${folder}/*.cpp)
  list(FILTER sources EXCLUDE REGEX "tools/(main\\.cpp$|example/)")
  if(TILLER_HAVE_ONEDNN)
    list(FILTER sources EXCLUDE REGEX "_onednn_none\\.cpp$")
  else()
    list(FILTER sources EXCLUDE REGEX "_onednn\\.cpp$")
  endif()
  if(NOT sources)
    add_library(tiller_${folder} INTERFACE)
    set(scope INTERFACE)
  else()
    add_library(tiller_${folder} STATIC ${sources})
    set(scope PUBLIC)
  endif()
  target_link_libraries(tiller_${folder} ${scope} tiller_options)
  foreach(dependency ${ARGN})
    target_link_libraries(tiller_${folder} ${scope} tiller_${dependency})
  endforeach()
  foreach(source ${sources})
    if(source MATCHES "_avx512\\.cpp$")
      # g++ 12 reports its own intrinsics' undefined operands as uninitialised (GCC bug 105593).
      set_source_files_properties(${source} PROPERTIES COMPILE_OPTIONS
        "-mavx512f;-mavx512bw;-mavx512vl;-mavx512dq;-mprefer-vector-width=512;-Wno-uninitialized")
    endif()
  endforeach()
  if(folder STREQUAL "runtime")
    # stb_image shifts signed numbers by design; the sanitizer that minds stays off in that one file.
    if(TILLER_SANITIZE OR TILLER_FUZZ)
      set_source_files_properties(${CMAKE_SOURCE_DIR}/runtime/files/image_stb.cpp PROPERTIES
        COMPILE_OPTIONS "-fno-sanitize=undefined")
    endif()
    target_link_libraries(tiller_runtime ${scope} ZLIB::ZLIB nlohmann_json::nlohmann_json)
    target_include_directories(tiller_runtime SYSTEM PRIVATE ${STB_INCLUDE_DIR})
  elseif(folder STREQUAL "tools")
    target_include_directories(tiller_tools SYSTEM PRIVATE ${STB_INCLUDE_DIR})
    # Pictures are scaled as PIL scales them, which rounds every product.
    set_source_files_properties(${CMAKE_SOURCE_DIR}/tools/data/resample.cpp PROPERTIES
      COMPILE_OPTIONS "-ffp-contract=off")
  elseif(folder STREQUAL "kernels" AND TILLER_HAVE_ONEDNN)
    target_link_libraries(tiller_kernels ${scope} tiller_dnnl)
  endif()
endfunction()
