// The one place where stb_image is compiled. It decodes what scan_png() and scan_jpeg() have found sound;
// its own limits stand behind theirs. Built without the undefined-behaviour sanitizer (cmake/library.cmake):
// it shifts signed numbers by design.
#include <cstdlib>
#include <memory>

#include "runtime/files/image_formats.h"

#pragma GCC diagnostic push
#pragma GCC diagnostic ignored "-Wall"
#pragma GCC diagnostic ignored "-Wextra"
#pragma GCC diagnostic ignored "-Wunused-function"
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"
#pragma GCC diagnostic ignored "-Wsign-compare"
#define STB_IMAGE_IMPLEMENTATION
#define STB_IMAGE_STATIC
#define STBI_ONLY_PNG
#define STBI_ONLY_JPEG
#define STBI_NO_STDIO
#define STBI_FAILURE_USERMSG
// Zeroed, because the JPEG decoder may read tables that a damaged file never defined.
#define STBI_MALLOC(bytes) std::calloc(1, bytes)
#define STBI_REALLOC(block, bytes) std::realloc(block, bytes)
#define STBI_FREE(block) std::free(block)
#include <stb_image.h>
#pragma GCC diagnostic pop

namespace tiller {

Tensor decode_with_stb(ByteSpan bytes, const ImageInfo& info, const std::string& path) {
  TILLER_CHECK(bytes.size() <= INT32_MAX, "{}: a picture of {} bytes is not read", path,
               bytes.size());
  int width = 0, height = 0, channels = 0;
  const std::unique_ptr<stbi_uc, void (*)(void*)> pixels(
      stbi_load_from_memory(bytes.data(), static_cast<int>(bytes.size()), &width, &height,
                            &channels, 3),
      stbi_image_free);
  TILLER_CHECK(pixels, "{}: cannot decode the picture: {}", path, stbi_failure_reason());
  TILLER_CHECK(width == info.width && height == info.height,
               "{}: damaged: it says {}x{} and has {}x{}", path, info.width, info.height, width,
               height);
  Tensor image = Tensor::empty({height, width, 3}, DType::u8);  // [H,W,3]
  std::memcpy(image.raw(), pixels.get(), image.bytes());
  return image;
}

}  // namespace tiller
