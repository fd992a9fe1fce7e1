# Compiler flags and third-party packages, in one place.

add_library(tiller_options INTERFACE)
target_compile_features(tiller_options INTERFACE cxx_std_20)
target_include_directories(tiller_options INTERFACE
  $<BUILD_INTERFACE:${CMAKE_SOURCE_DIR}> $<INSTALL_INTERFACE:include/tiller>)
# How strict we are with ourselves is no affair of who links the installed libraries.
# g++ 12 reports -Wrestrict inside its own std::string (GCC bug 105329).
target_compile_options(tiller_options INTERFACE
  $<BUILD_INTERFACE:-Wall;-Wextra;-Wpedantic;-Werror;-Wno-unknown-pragmas>
  $<$<CXX_COMPILER_ID:GNU>:$<BUILD_INTERFACE:-Wno-restrict>>
  $<$<CXX_COMPILER_ID:Clang>:$<BUILD_INTERFACE:-Wno-c99-extensions>>
  $<BUILD_INTERFACE:-fno-math-errno;-ffp-contract=fast>)

# The whole program is built for x86-64-v3 (AVX2, FMA, F16C). Files named *_avx512.cpp hold rows that
# ask the processor before they run.
if(CMAKE_SYSTEM_PROCESSOR MATCHES "x86_64|AMD64")
  target_compile_options(tiller_options INTERFACE -march=x86-64-v3)
endif()

if(TILLER_SANITIZE)
  target_compile_options(tiller_options INTERFACE
    -fsanitize=${TILLER_SANITIZE} -fno-sanitize-recover=all -fno-omit-frame-pointer)
  target_link_options(tiller_options INTERFACE -fsanitize=${TILLER_SANITIZE})
endif()
if(TILLER_FUZZ)
  target_compile_options(tiller_options INTERFACE -fsanitize=fuzzer-no-link,address,undefined
    -fno-sanitize-recover=all)
  target_link_options(tiller_options INTERFACE -fsanitize=address,undefined)
endif()

find_package(fmt REQUIRED)
find_package(nlohmann_json 3 REQUIRED)
find_package(Threads REQUIRED)
find_package(ZLIB REQUIRED)
find_path(STB_INCLUDE_DIR stb_image.h PATH_SUFFIXES stb REQUIRED)
if(NOT TILLER_FUZZ)  # one thread is enough for a fuzzer, and clang's OpenMP is another package
  find_package(OpenMP REQUIRED)
  target_link_libraries(tiller_options INTERFACE OpenMP::OpenMP_CXX)
endif()
target_link_libraries(tiller_options INTERFACE fmt::fmt Threads::Threads)

# Looked up by hand: Debian's dnnl-config.cmake insists on OpenCL, which no row of ours needs.
set(TILLER_HAVE_ONEDNN OFF)
if(TILLER_ONEDNN)
  find_path(DNNL_INCLUDE_DIR dnnl.hpp)
  find_library(DNNL_LIBRARY dnnl)
  if(DNNL_INCLUDE_DIR AND DNNL_LIBRARY)
    set(TILLER_HAVE_ONEDNN ON)
    add_library(tiller_dnnl INTERFACE)
    target_include_directories(tiller_dnnl SYSTEM INTERFACE ${DNNL_INCLUDE_DIR})
    target_link_libraries(tiller_dnnl INTERFACE ${DNNL_LIBRARY})
  endif()
endif()
message(STATUS "oneDNN peer rows: ${TILLER_HAVE_ONEDNN}")

# Only the headers: the library is loaded at run time.
set(TILLER_HAVE_CUDNN OFF)
if(TILLER_HAVE_CUDA AND TILLER_CUDNN)
  find_path(CUDNN_INCLUDE_DIR cudnn_backend.h HINTS ${CUDAToolkit_INCLUDE_DIRS})
  if(CUDNN_INCLUDE_DIR)
    set(TILLER_HAVE_CUDNN ON)
  endif()
  message(STATUS "cuDNN peer rows: ${TILLER_HAVE_CUDNN}")
endif()
