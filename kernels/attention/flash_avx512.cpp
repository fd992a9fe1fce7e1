// attention, rows v2_flash_avx512: the tasks of v1_flash with vectors of sixteen.
#include "kernels/attention/flash_tasks.h"
#include "kernels/simd_avx512.h"

namespace tiller::flash {

Tasks tasks_avx512(Element element) { return tasks_for<f32x16>(element); }

}  // namespace tiller::flash
