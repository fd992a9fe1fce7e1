#pragma once
// The backends that a build may lack: *_backend_none.cpp stands in then.
#include "runtime/backend.h"

namespace tiller {

/// Makes the backend of a GPU; null in a program that is built without CUDA.
Backend& (*cuda_backend())(int index);
/// Makes the backend of simt; null in a program that is built without it.
Backend& (*simt_backend())(int index);

}  // namespace tiller
