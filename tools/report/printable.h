#pragma once
#include <string>

namespace tiller {

/// Text out of a file, safe to show: control characters, which a terminal would obey, become '?'.
/// Newlines stay with `lines`.
inline std::string printable(std::string text, bool lines = false) {
  for (char& c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if ((byte < 0x20 || byte == 0x7F) && !(lines && c == '\n')) c = '?';
  }
  return text;
}

}  // namespace tiller
